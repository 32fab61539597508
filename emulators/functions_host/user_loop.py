"""The thread and event loop in which user code runs, apart from the host's own.

A blocking call in an async function then blocks the app's other async functions, as it does
in a Functions worker, but never the host.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


class UserLoop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="function-app", daemon=True)
        self._closed = False

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def run(self, work: Coroutine[object, object, T]) -> T:
        """Run `work` in the user's loop and wait for it in the caller's; cancelling reaches it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def close(self, *, within: float = 0.8) -> None:
        """Cancel what runs and stop the loop; user code that blocks it is left behind. Idempotent."""
        if self._closed or not self._thread.is_alive():
            return
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop)
        await asyncio.to_thread(self._thread.join, within)
        if not self._thread.is_alive():
            # Clients that the app keeps for its lifetime are collected only at exit; their complaints
            # about a closed loop would end up in the log as errors of the host.
            self._loop.set_exception_handler(lambda _loop, _context: None)
            self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=0.5)
        self._loop.stop()
