"""Who gets a session's events: WebSockets and data channels."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Protocol

from aiohttp import WSMsgType, web

_MAX_QUEUED_BYTES = 64 * 1024 * 1024


class Listener(Protocol):
    """One connection that gets the session's events."""

    @property
    def name(self) -> str:
        """What it is, for the event log ("websocket-1")."""
        ...

    @property
    def closable(self) -> bool:
        """Whether a `close` fault can strike it: WebSockets only."""
        ...

    def accepts(self, event_type: str, *, audio: bool) -> bool:
        """Whether this connection gets events of this type."""
        ...

    def offer(self, data: bytes) -> None:
        """Queue one event, serialised; never blocks."""
        ...

    def end(self, code: int, reason: str) -> None:
        """Send what is queued, then close. Code 1006 drops the connection without a close frame."""
        ...


class SocketListener:
    """A WebSocket. `run` sends until the end; whoever made the listener awaits it."""

    closable = True

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, name: str, *, audio: bool
    ) -> None:
        self.name = name
        self._request = request
        self._socket = socket
        self._audio = audio
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._more = asyncio.Event()
        self._end: tuple[int, str] | None = None

    def accepts(self, event_type: str, *, audio: bool) -> bool:
        return self._audio or not audio

    def offer(self, data: bytes) -> None:
        if self._end is not None:
            return
        self._queue.append(data)
        self._queued_bytes += len(data)
        if self._queued_bytes > _MAX_QUEUED_BYTES:
            # The client does not read: a bounded queue must end somewhere.
            self._queue.clear()
            self._end = (1008, "slow_consumer")
        self._more.set()

    def end(self, code: int, reason: str) -> None:
        if self._end is None:
            self._end = (code, reason)
            self._more.set()

    async def run(self) -> None:
        """Send queued events until `end` is called or the connection is lost."""
        with contextlib.suppress(ConnectionError):
            while True:
                while self._queue:
                    data = self._queue.popleft()
                    self._queued_bytes -= len(data)
                    await self._socket.send_frame(data, WSMsgType.TEXT)
                if self._end is not None:
                    break
                self._more.clear()
                await self._more.wait()
            code, reason = self._end
            if code == 1006:
                self._drop()
            else:
                await self._socket.close(code=code, message=reason.encode()[:120])

    def _drop(self) -> None:
        transport = self._request.transport
        if transport is not None:
            transport.abort()
