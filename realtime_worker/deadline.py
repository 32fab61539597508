"""A moment that may move: the conversation's next deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime_worker.services import now_ms


class Deadline:
    """Calls `reached` at the moment that `due` tells, in Unix milliseconds; None is never."""

    __slots__ = ("_at_ms", "_check", "_due", "_reached", "_timer")

    def __init__(self, due: Callable[[], int | None], reached: Callable[[], None]) -> None:
        self._due = due
        self._reached = reached
        self._timer: asyncio.TimerHandle | None = None
        self._at_ms = 0
        self._check: asyncio.Handle | None = None

    def may_have_moved(self) -> None:
        """Look soon: once for all that happens together."""
        if self._check is None:
            self._check = asyncio.get_running_loop().call_soon(self._look)

    def close(self) -> None:
        """Call no more; safe to call twice."""
        for handle in (self._timer, self._check):
            if handle is not None:
                handle.cancel()
        self._timer = self._check = None

    def _look(self) -> None:
        """Set the timer; one that is set for earlier may stay, and looks again then."""
        self._check = None
        due = self._due()
        if due is None or (self._timer is not None and self._at_ms <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(due - now_ms(), 1) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring)
        self._at_ms = due

    def _ring(self) -> None:
        self._timer = None
        self._reached()
