"""Which provider events have been seen: a connection can deliver one twice."""

from __future__ import annotations

from collections import deque

REMEMBERED = 32


class RecentIds:
    """The last event ids, in a bounded memory."""

    def __init__(self) -> None:
        self._order: deque[str] = deque()
        self._known: set[str] = set()

    def first_time(self, event_id: str) -> bool:
        """Return whether `event_id` is new, and remember it. An empty id is always new."""
        if not event_id:
            return True
        if event_id in self._known:
            return False
        self._known.add(event_id)
        self._order.append(event_id)
        if len(self._order) > REMEMBERED:
            self._known.discard(self._order.popleft())
        return True
