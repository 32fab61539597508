"""Tasks that belong to somebody: none is lost, none fails in silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

logger = logging.getLogger(__name__)


class OwnedTasks:
    """A set of tasks; `close` cancels and awaits them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run `work` as a task of this set."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def settle(self, within_s: float) -> None:
        """Wait until they are done, at most so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def close(self) -> None:
        """Cancel and await all but the task that asks; idempotent."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A part of a call failed", exc_info=error)
