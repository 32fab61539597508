"""What an agent may do with the call itself, and what callers are told and asked before all else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from shared.telephony.outbound import Target


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Somebody whom an agent may hand the caller over to, or take into the call.

    description: tells the model when. announcement: what the caller is told first, word for word; "" for
    nothing.
    """

    target: Target = field(repr=False)
    description: str = ""
    announcement: str = ""


@dataclass(frozen=True, kw_only=True)
class Consent:
    """What the caller hears before anything else of the agent, whole.

    ask: the caller has to agree before the agent goes on. goodbye: what is said to one who does not.
    """

    announcement: str
    ask: bool = False
    goodbye: str = ""

    @property
    def name(self) -> str:
        """A digest of the announcement's words: who has heard them from one agent knows them of all."""
        return hashlib.sha256(" ".join(self.announcement.split()).encode()).hexdigest()[:16]
