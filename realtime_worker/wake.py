"""A flag that one task waits for. A session has several, and an asyncio.Event keeps 0.7 KB for a crowd."""

from __future__ import annotations

import asyncio


class Wake:
    """Like asyncio.Event, for one waiter at a time."""

    __slots__ = ("_set", "_waiter")

    def __init__(self, *, is_set: bool = False) -> None:
        self._set = is_set
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Let the waiter go on, now or when it comes."""
        self._set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        """Let the next one wait."""
        self._set = False

    async def wait(self) -> None:
        """Return once the flag is set. Raises RuntimeError when somebody else waits."""
        if self._set:
            return
        if self._waiter is not None:
            raise RuntimeError("two tasks wait for the same Wake")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
