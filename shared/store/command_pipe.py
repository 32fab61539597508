"""Many callers' commands over one connection, as many at a time as there are.

A command through the client's pool costs several times what Redis does for it: a connection is taken,
checked, locked, timed and given back for each. Here the commands that wait go out in one write and the
next ones collect while the replies come in. It is a faster way, not another one: whenever it does
not hold, the client's own is taken, with its retries. So a command may be repeated whose answer was lost,
as the client does too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import Protocol, cast

import redis.exceptions as failures
from hiredis import pack_command
from redis.asyncio import Redis

from shared.store.connection import ANSWER_S, SOCKET_TIMEOUT_S, heeding_cancellation

_log = logging.getLogger("sidetone.store.command_pipe")

# After the connection was lost, the client's pool serves for this long before it is tried again.
_RECONNECT_S = 0.5


class _Connection(Protocol):
    """What is used of redis-py's connection."""

    async def connect(self) -> None: ...

    async def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None: ...

    async def read_response(self, *, timeout: float) -> object: ...

    async def disconnect(self, nowait: bool = False) -> None: ...


class _PipeBrokenError(Exception):
    """The connection was lost; whether the command was carried out is not known."""


class CommandPipe:
    """A connection of its own beside the pool of `redis`. Close it before the client."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: list[tuple[bytes, asyncio.Future[object]]] = []
        self._under_way: list[asyncio.Future[object]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._holds = False

    async def execute_command(self, *command: str | int) -> object:
        """Return Redis's reply; raise what the client raises, and TimeoutError when it takes too long."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_connected(), name="command pipe")
        if self._holds:
            with contextlib.suppress(_PipeBrokenError):
                reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()
                packed = pack_command(command)  # pyright: ignore[reportArgumentType]  # its stub forgot the "..."
                self._waiting.append((packed, reply))
                self._wake.set()
                return await reply
        async with asyncio.timeout(ANSWER_S):
            return await heeding_cancellation(self._redis.execute_command(*command))

    async def close(self) -> None:
        """Give the connection back; what waits for a reply goes through the client. Safe to call twice."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_connected(self) -> None:
        connection = cast("_Connection", self._redis.connection_pool.make_connection())
        try:
            while True:
                try:
                    await connection.connect()
                    self._holds = True
                    await self._carry(connection)
                except (failures.RedisError, OSError) as error:
                    _log.info("command pipe lost its connection", extra={"error": type(error).__name__})
                    self._break()
                    await connection.disconnect(nowait=True)
                    await asyncio.sleep(_RECONNECT_S)
        finally:
            self._break()
            await connection.disconnect(nowait=True)

    async def _carry(self, connection: _Connection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            self._under_way = [reply for _, reply in batch]
            async with asyncio.timeout(SOCKET_TIMEOUT_S):
                await connection.send_packed_command([packed for packed, _ in batch], check_health=False)
                await self._read(connection)

    async def _read(self, connection: _Connection) -> None:
        for reply in self._under_way:
            try:
                told = await connection.read_response(timeout=math.inf)
            except failures.ResponseError as error:
                if not reply.done():
                    reply.set_exception(error)
            else:
                if not reply.done():
                    reply.set_result(told)

    def _break(self) -> None:
        """Have those that wait take the other way."""
        self._holds = False
        stranded = [*self._under_way, *(reply for _, reply in self._waiting)]
        self._waiting, self._under_way = [], []
        for reply in stranded:
            if not reply.done():
                reply.set_exception(_PipeBrokenError())
