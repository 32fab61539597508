"""What a mind may do with a turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from emulators.realtime.session.turn import Turn


@dataclass(frozen=True, slots=True)
class Say:
    """Say this to the caller."""

    text: str


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a declared tool with `arguments`, a JSON text."""

    name: str
    arguments: str


Thought = Say | CallTool


class MindError(Exception):
    """The mind can't answer. `code` and the message go into the failed response's `status_details`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Mind(Protocol):
    """The mind of one session; it may remember between turns."""

    def think(self, turn: Turn) -> AsyncGenerator[Thought, None]:
        """Answer a turn, thought by thought. Closed early when the response is cancelled."""
        ...


class Minds(Protocol):
    """Makes a mind for each session, and owns what they share."""

    def new(self) -> Mind: ...

    async def close(self) -> None:
        """Free what the minds share; the sessions have ended."""
        ...
