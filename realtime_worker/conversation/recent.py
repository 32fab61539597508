"""Which provider events have been seen: a connection can deliver one twice."""

from __future__ import annotations

REMEMBERED = 32


class RecentIds:
    """The last event ids, in a bounded memory.

    Their hashes are kept, of 64 bits, and not the ids: those of an idle session are 3 KB.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, None] = {}

    def first_time(self, event_id: str) -> bool:
        """Return whether `event_id` is new, and remember it. An empty id is always new."""
        known, seen = self._known, hash(event_id)
        if seen in known:
            return not event_id
        known[seen] = None
        if len(known) > REMEMBERED:
            del known[next(iter(known))]
        return True
