"""The caller's audio, where it passes through the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class MediaLeg(Protocol):
    """A connection to the caller (a carrier's media stream, a browser's socket) as the session sees it.

    Audio is base64 text in the format of the provider's session, so that it passes without being decoded.
    """

    def play(self, response_id: str, audio: str) -> None:
        """Take the next piece of what the agent says; must not block."""
        ...

    def heard(self) -> AsyncIterator[str]:
        """Yield what the caller says, piece by piece, until the connection is over."""
        ...
