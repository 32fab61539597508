"""A Redis client whose commands wait for a permit, so that a test decides in which order they happen."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from redis.asyncio import Redis

T = TypeVar("T")

_gate: ContextVar[Gate | None] = ContextVar("gate", default=None)


class Gate:
    """Stops a task before each command it sends."""

    def __init__(self) -> None:
        self._permits = asyncio.Semaphore(0)
        self.waits = asyncio.Event()

    async def pass_one(self) -> None:
        self.waits.set()
        await self._permits.acquire()

    def permit(self) -> None:
        self.waits.clear()
        self._permits.release()


class GatedRedis(Redis):
    """Commands of a task that was started as an Operation wait at its gate; all others pass."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        gate = _gate.get()
        if gate is not None:
            await gate.pass_one()
        return await super().execute_command(*args, **options)


class Operation(Generic[T]):
    """A call of the store that advances one Redis command at a time."""

    def __init__(self, call: Coroutine[object, object, T]) -> None:
        self._gate = Gate()
        token = _gate.set(self._gate)
        self.task = asyncio.create_task(call)
        _gate.reset(token)

    async def settle(self) -> None:
        """Wait until the operation is done or waits at its gate."""
        waits = asyncio.create_task(self._gate.waits.wait())
        await asyncio.wait([self.task, waits], return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()

    async def step(self) -> None:
        """Let one command through."""
        self._gate.permit()
        await self.settle()

    @property
    def done(self) -> bool:
        return self.task.done()
