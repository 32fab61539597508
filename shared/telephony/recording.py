"""How a call is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The call is recorded, as far as its carrier can. unmixed: everybody in a channel of their own."""

    channels: Literal["mixed", "unmixed"] = "unmixed"
    format: Literal["wav", "mp3"] = "wav"
