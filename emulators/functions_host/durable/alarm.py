"""Wake keys at their times, over one event loop timer and a heap."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable

_LONGEST_SLEEP = 3600.0
"""Seconds; the wall clock may be set meanwhile."""


class Alarm:
    """Calls `ring(key)` when a wall-clock time (seconds since the epoch) has come."""

    def __init__(self, ring: Callable[[str], None]) -> None:
        self._ring = ring
        self._heap: list[tuple[float, str]] = []
        self._handle: asyncio.TimerHandle | None = None

    def set(self, key: str, at: float) -> None:
        """Have `key` rung at `at`; at once (in this call) if that is past."""
        if at <= time.time():
            self._ring(key)
            return
        heapq.heappush(self._heap, (at, key))
        if self._heap[0] == (at, key):
            self._arm()

    def close(self) -> None:
        """Ring no more; idempotent."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._heap:
            delay = min(max(self._heap[0][0] - time.time(), 0.0005), _LONGEST_SLEEP)
            self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        now = time.time()
        while self._heap and self._heap[0][0] <= now:
            self._ring(heapq.heappop(self._heap)[1])
        self._arm()
