"""What a session sent and received, kept for tests and people."""

from __future__ import annotations

from collections import deque

from emulators.realtime.wire import Json


class EventLog:
    """The newest `limit` events of one session, each numbered; audio is left out."""

    def __init__(self, limit: int) -> None:
        self._entries: deque[Json] = deque(maxlen=limit)
        self._count = 0

    def record(self, *, at_ms: int, direction: str, peer: str, event: object) -> None:
        """Add one event: `direction` is "in" (from a client) or "out"."""
        self._count += 1
        self._entries.append(
            {"n": self._count, "at_ms": at_ms, "direction": direction, "peer": peer, "event": event}
        )

    def after(self, number: int) -> list[Json]:
        """Return the kept events with a number above `number`."""
        return [entry for entry in self._entries if isinstance(n := entry["n"], int) and n > number]
