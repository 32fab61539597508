"""Many callers' commands over one connection, as many at a time as there are.

A command through the client's pool costs several times what Redis does for it: a connection is taken,
checked, locked, timed and given back for each. Here those of one moment go out in one write, and nobody waits
for others' replies to be sent. It is a faster way, not another one: whenever it does
not hold, the client's own is taken, with its retries. So a command may be repeated whose answer was lost,
as the client does too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from typing import NamedTuple, Protocol, cast

import redis.exceptions as failures
from hiredis import pack_command
from redis.asyncio import Redis

from shared.store.connection import ANSWER_S, SOCKET_TIMEOUT_S, heeding_cancellation

_log = logging.getLogger("sidetone.store.command_pipe")

# After the connection was lost, the client's pool serves for this long before it is tried again.
_RECONNECT_S = 0.5


class _Connection(Protocol):
    """What is used of redis-py's connection."""

    socket_timeout: float | None

    async def connect(self) -> None: ...

    async def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None: ...

    async def read_response(self, *, timeout: float) -> object: ...

    async def disconnect(self, nowait: bool = False) -> None: ...


class _PipeBrokenError(Exception):
    """The connection was lost; whether the command was carried out is not known."""


class _Sent(NamedTuple):
    """A command that is under way. overdue: breaks the pipe; only the last one of a write has it."""

    reply: asyncio.Future[object]
    overdue: asyncio.TimerHandle | None


class CommandPipe:
    """A connection of its own beside the pool of `redis`. Close it before the client."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: list[tuple[bytes, asyncio.Future[object]]] = []
        self._under_way: deque[_Sent] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._holds = False
        self._late = False

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
                    connection.socket_timeout = SOCKET_TIMEOUT_S
                    await connection.connect()
                    connection.socket_timeout = None  # with one, each write would be a task of its own
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
        """Write what waits while another task reads the replies. Raises RedisError or OSError in the end."""
        self._late = False
        reading = asyncio.create_task(self._read(connection), name="command pipe's replies")
        reading.add_done_callback(lambda _: self._wake.set())
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._late:
                    raise failures.TimeoutError("Redis does not answer")
                if reading.done():
                    return reading.result()
                batch, self._waiting = self._waiting, []
                if batch:
                    self._note(batch)
                    async with asyncio.timeout(SOCKET_TIMEOUT_S):
                        await connection.send_packed_command(
                            [packed for packed, _ in batch], check_health=False
                        )
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    def _note(self, batch: list[tuple[bytes, asyncio.Future[object]]]) -> None:
        *others, (_, last) = batch
        self._under_way.extend(_Sent(reply, None) for _, reply in others)
        overdue = asyncio.get_running_loop().call_later(SOCKET_TIMEOUT_S, self._give_up)
        self._under_way.append(_Sent(last, overdue))

    def _give_up(self) -> None:
        self._late = True
        self._wake.set()

    async def _read(self, connection: _Connection) -> None:
        """Pass replies on, in the order of the commands."""
        while True:
            told, refusal = None, None
            try:
                told = await connection.read_response(timeout=math.inf)
            except failures.ResponseError as error:
                refusal = error
            if not self._under_way:
                raise failures.ConnectionError("Redis answers what nobody asked")
            reply, overdue = self._under_way.popleft()
            if overdue is not None:
                overdue.cancel()
            if reply.done():  # whoever asked has given up
                continue
            if refusal is None:
                reply.set_result(told)
            else:
                reply.set_exception(refusal)

    def _break(self) -> None:
        """Have those that wait take the other way."""
        self._holds = False
        stranded = [*(sent.reply for sent in self._under_way), *(reply for _, reply in self._waiting)]
        for sent in self._under_way:
            if sent.overdue is not None:
                sent.overdue.cancel()
        self._waiting = []
        self._under_way.clear()
        for reply in stranded:
            if not reply.done():
                reply.set_exception(_PipeBrokenError())
