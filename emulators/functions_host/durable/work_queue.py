"""Run work per key: one at a time for the same key, a limited number at once over all."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

logger = logging.getLogger("functions_host.durable")

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """A key that is put while it runs is run once more afterwards, however often it was put."""

    def __init__(self, run: Callable[[K], Awaitable[None]], *, limit: int) -> None:
        self._run = run
        self._limit = limit
        self._waiting: deque[K] = deque()
        self._queued: set[K] = set()
        self._running: dict[K, asyncio.Task[None]] = {}
        self._again: set[K] = set()
        self._closed = False

    def put(self, key: K) -> None:
        """Have `key` worked on; never blocks."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._queued and not self._closed:
            self._queued.add(key)
            self._waiting.append(key)
            self._start_waiting()

    async def close(self) -> None:
        """Cancel what runs and wait for it; idempotent."""
        self._closed = True
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._limit and not self._closed:
            key = self._waiting.popleft()
            self._queued.discard(key)
            task = asyncio.get_running_loop().create_task(self._work_on(key))
            self._running[key] = task

    async def _work_on(self, key: K) -> None:
        try:
            await self._run(key)
        except Exception:
            logger.exception("durable work failed in the host")
        finally:
            del self._running[key]
            if key in self._again:
                self._again.discard(key)
                self.put(key)
            self._start_waiting()
