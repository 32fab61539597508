"""What happened in a call, kept for tests and people."""

from __future__ import annotations

import time
from collections import deque

from emulators.communication.wire import Json


class EventLog:
    """The newest `limit` events of one call, each numbered. Audio is never in it."""

    def __init__(self, limit: int) -> None:
        self._entries: deque[Json] = deque(maxlen=limit)
        self._count = 0
        self._began = time.monotonic()

    def record(self, what: str, **details: object) -> None:
        """Add one event; `at_ms` counts since the call began."""
        self._count += 1
        at_ms = round((time.monotonic() - self._began) * 1000, 1)
        self._entries.append({"n": self._count, "at_ms": at_ms, "what": what, **details})

    def after(self, number: int) -> list[Json]:
        """Return the kept events with a number above `number`."""
        return [entry for entry in self._entries if isinstance(n := entry["n"], int) and n > number]
