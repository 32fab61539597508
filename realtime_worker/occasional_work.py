"""Work that comes up now and then: a task while there is some, and nothing in between.

A session has several kinds of it, and is one of hundreds: a task that waits keeps some 1.5 KB.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable


class OccasionalWork:
    """One kind of work of one session; never done twice at a time."""

    __slots__ = ("_again", "_broke", "_closed", "_context", "_task", "_work")

    def __init__(
        self,
        work: Callable[[], Awaitable[None]],
        broke: Callable[[Exception], None],
        context: contextvars.Context,
    ) -> None:
        """work: does what there is to do and returns. broke: told what it raises. context: its own."""
        self._work = work
        self._broke = broke
        self._context = context
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._closed = False

    def wake(self) -> None:
        """There is something to do: now, or right after what is being done."""
        self._again = True
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._run(), context=self._context)

    def cancel(self) -> None:
        """Stop, and begin nothing more."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Stop and wait for it; safe to call twice."""
        self.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._again and not self._closed:
                self._again = False
                await self._work()
        except Exception as error:
            self._broke(error)
        finally:
            self._task = None
