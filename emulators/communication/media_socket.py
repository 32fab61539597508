"""One media-streaming WebSocket that the emulator has dialled: frames out, what the application plays in."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.trsock import TransportSocket
from collections import deque
from dataclasses import dataclass, field
from socket import SHUT_RDWR, socket
from typing import cast

import aiohttp

from emulators.communication.event_log import EventLog
from emulators.communication.media_wire import MalformedError, PlayAudio, parse
from emulators.communication.playback import PlaybackQueue
from emulators.communication.wire import Json

_LONGEST_BACKLOG = 250  # frames: five seconds that the application did not read
_LARGEST_MESSAGE = 4 * 1024 * 1024
_HANDSHAKE_S = 10.0
_NO_CODE = 1005
_BROKEN = 1006
_GOODBYE_S = 1.0


class UnreachableError(Exception):
    """The application did not take the WebSocket; `status` is its HTTP answer, where there was one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class SocketCounters:
    """What went over one connection."""

    frames_sent: int = 0
    frames_lost: int = 0
    messages_received: int = 0
    malformed: int = 0
    close_code: int | None = None

    def shown(self) -> Json:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class MediaSocket:
    """A dialled connection. `offer` never waits; `carry` runs until it closes."""

    socket: aiohttp.ClientWebSocketResponse
    playback: PlaybackQueue | None
    log: EventLog
    counters: SocketCounters = field(default_factory=SocketCounters)
    _outgoing: deque[str | bytes] = field(default_factory=deque["str | bytes"])
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, message: str | bytes) -> None:
        """Send a message soon; the oldest is lost when the application has stopped reading."""
        if len(self._outgoing) >= _LONGEST_BACKLOG:
            self._outgoing.popleft()
            self.counters.frames_lost += 1
        self._outgoing.append(message)
        self._wake.set()

    async def carry(self) -> int:
        """Send and receive until the connection closes; return its close code (1006: it broke)."""
        sender = asyncio.create_task(self._send())
        try:
            code = await self._read()
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        self.counters.close_code = code
        return code

    async def close(self) -> None:
        """Say goodbye, and wait a moment for the answer."""
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await self.socket.close(code=aiohttp.WSCloseCode.OK)
        except TimeoutError:
            self.drop()

    def drop(self) -> None:
        """Break the connection without a word."""
        connection = cast("TransportSocket | None", self.socket.get_extra_info("socket"))
        if connection is None:
            return
        # By its number, for uvloop's stand-in of a socket can't be shut down.
        with contextlib.suppress(OSError), socket(fileno=os.dup(connection.fileno())) as own:
            own.shutdown(SHUT_RDWR)

    async def _read(self) -> int:
        while True:
            message = await self.socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return cast("int | None", message.data) or _NO_CODE
            if message.type in (aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                # aiohttp calls a connection that just ended a clean close; without a close frame it is none.
                return _BROKEN
            self._receive(message)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outgoing:
                message = self._outgoing.popleft()
                try:
                    if isinstance(message, str):
                        await self.socket.send_str(message)
                    else:
                        await self.socket.send_bytes(message)
                except (aiohttp.ClientError, ConnectionError):
                    return  # the reading side tells how it ended
                self.counters.frames_sent += 1

    def _receive(self, message: aiohttp.WSMessage) -> None:
        self.counters.messages_received += 1
        if message.type is not aiohttp.WSMsgType.TEXT:
            self._malformed(f"a {message.type.name.lower()} message")
            return
        try:
            command = parse(message.data)
        except MalformedError as error:
            self._malformed(str(error))
            return
        if self.playback is None:
            self._malformed("the stream is not bidirectional")
        elif isinstance(command, PlayAudio):
            self.playback.write(command.pcm16)
        else:
            dropped = self.playback.stop()
            self.log.record("stop_audio", dropped_ms=round(dropped, 1))

    def _malformed(self, why: str) -> None:
        self.counters.malformed += 1
        if self.counters.malformed <= 20:
            self.log.record("malformed_media", why=why)


async def dial(
    client: aiohttp.ClientSession,
    url: str,
    headers: dict[str, str],
    playback: PlaybackQueue | None,
    log: EventLog,
) -> MediaSocket:
    """Open a media WebSocket; raises UnreachableError."""
    try:
        async with asyncio.timeout(_HANDSHAKE_S):
            connection = await client.ws_connect(
                url, headers=headers, max_msg_size=_LARGEST_MESSAGE, compress=0
            )
    except aiohttp.WSServerHandshakeError as error:
        raise UnreachableError(f"the answer was HTTP {error.status}", error.status) from None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise UnreachableError(type(error).__name__) from None
    return MediaSocket(connection, playback, log)
