"""Which provider events have been seen: a connection can deliver one twice, the copy soon after."""

from __future__ import annotations

REMEMBERED = 16


class RecentIds:
    """The last event ids, in a bounded memory.

    Their hashes are kept, of 64 bits, one over the other: the ids themselves would be several KB of every
    session. So few are looked through as fast as a set is asked.
    """

    __slots__ = ("_at", "_hashes")

    def __init__(self) -> None:
        self._hashes = [0] * REMEMBERED
        self._at = 0

    def first_time(self, event_id: str) -> bool:
        """Return whether `event_id` is new, and remember it. An empty id is always new."""
        if not event_id:
            return True
        seen = hash(event_id)
        if seen in self._hashes:
            return False
        self._hashes[self._at] = seen
        self._at = (self._at + 1) % REMEMBERED
        return True
