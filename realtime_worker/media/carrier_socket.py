"""A carrier's media WebSocket on the worker's HTTP face: what it says goes to the session's caller line.

Sources: aiohttp's WebSocket server; the close codes of RFC 6455.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Literal, cast

import aiohttp
from aiohttp import web

from realtime_worker.media.caller_line import COME_AGAIN, CallerLine
from realtime_worker.media.framing import (
    CHARS_PER_MS,
    Framing,
    KeyPressed,
    MalformedMessageError,
    MarkReached,
    MediaEvent,
    StreamOpened,
    UnsupportedAudioError,
)
from realtime_worker.media.pace import Pace
from shared.prompt_websocket import PromptReading, leave_at_once, text_head
from shared.telemetry.logs import get_logger

# Messages of carriers hold some tens of milliseconds; whoever sends more at once is none.
MAX_MESSAGE_BYTES = 65_536
# So many that can't be understood, and the connection is not worth keeping.
MAX_MALFORMED = 50
# How often the connection is looked at. A carrier sends silence too: one that has sent nothing for so many
# looks is asked whether it lives, and given up when it has not answered for so many.
LOOK_EVERY_S = 1.0
QUIET_LOOKS, DEAD_LOOKS = 5, 15
CLOSE_WITHIN_S = 1.0
# A carrier that has not taken all but this much is behind.
FREE_BYTES = 16_384

GOING_AWAY = 1001
UNSUPPORTED_DATA = 1003
POLICY_VIOLATION = 1008
TOO_BIG = 1009

_OVER = frozenset(
    {
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSING,
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.ERROR,
    }
)

_log = get_logger(__name__)


class _SessionOverError(Exception):
    """The session is over here."""


class _Outlet:
    """The Wire of a caller line, straight to the transport: aiohttp would wait for one that is behind, and
    who sends here has looked whether it is `free`. Whoever reads sees that a connection is over, and tells.

    It and the inlet are small objects of their own, for they are used for each frame of each call; the large
    ones around them would have to come from memory anew each time.
    """

    __slots__ = ("_backlog", "_shut", "_transport")

    def __init__(self, transport: asyncio.Transport, shut: Callable[[int], Awaitable[object]]) -> None:
        self._transport: asyncio.Transport | None = transport
        self._backlog = transport.get_write_buffer_size
        self._shut = shut

    @property
    def free(self) -> bool:
        return self._backlog() < FREE_BYTES

    def send(self, message: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        try:
            transport.write(text_head(len(message)) + message)
        except RuntimeError:  # how uvloop says that it is closed
            return

    async def shut(self, code: int) -> None:
        await self._shut(code)

    def end(self) -> None:
        """Send nothing more."""
        self._transport = None


class _Inlet:
    """What is heard of a caller: passed on to the line, and counted."""

    __slots__ = (
        "_attached",
        "_framing",
        "_line",
        "_outlet",
        "chars",
        "leaving_out",
        "left_out_chars",
        "messages",
    )

    def __init__(self, line: CallerLine, framing: Framing, outlet: _Outlet) -> None:
        self._line, self._framing, self._outlet = line, framing, outlet
        self._attached = False
        self.messages = 0
        self.chars = 0  # of audio
        self.leaving_out = False
        self.left_out_chars = 0

    def take(self, message: bytes) -> None:
        """Do what a message says. Raises what a Framing raises, and _SessionOverError."""
        said = self._framing.read(message)
        if isinstance(said, bytes):
            if not self._attached:
                self._attach()
            self.chars += len(said)
            if self.leaving_out:
                self.left_out_chars += len(said)
            else:
                self._line.hear(said)
        elif said is not None:
            self._told(said)
        self.messages += 1

    def _attach(self) -> None:
        self._attached = self._line.attach(self._outlet, self._framing)
        if not self._attached:
            raise _SessionOverError

    def _told(self, event: MediaEvent) -> None:
        match event:
            case StreamOpened():
                self._attach()
            case KeyPressed(key=key):
                self._line.pressed(key)
            case MarkReached(name=name):
                self._line.reached(name)


class CarrierSocket(PromptReading, web.WebSocketResponse[Literal[False]]):  # pyright: ignore[reportIncompatibleVariableOverride]  # on purpose: see PromptReading
    """One connection, from its handshake to its close code."""

    max_message_bytes = MAX_MESSAGE_BYTES

    def __init__(self, framing: Framing) -> None:
        super().__init__(
            timeout=CLOSE_WITHIN_S,
            max_msg_size=MAX_MESSAGE_BYTES,
            compress=False,
            decode_text=False,
            autoping=False,  # a pong is a sign of life
        )
        self._framing = framing
        self._outlet: _Outlet | None = None
        self._pongs = 0
        self._malformed = 0

    async def close(
        self, *, code: int = aiohttp.WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        self.read_with(None)  # who closes has heard enough
        if self._outlet is not None:
            self._outlet.end()
        return await super().close(code=code, message=message, drain=drain)

    async def carry(self, line: CallerLine) -> None:
        """Pass everything on to `line` until the connection is over."""
        assert self._writer is not None, "prepare it first"
        outlet = self._outlet = _Outlet(self._writer.transport, lambda code: self.close(code=code))
        leave_at_once(self._writer.transport)
        inlet = _Inlet(line, self._framing, outlet)
        self.read_with(inlet.take)
        watching = asyncio.create_task(self._watch(inlet), name="media socket")
        try:
            await self._receive(inlet)
        finally:
            self.read_with(None)
            line.detach(outlet)
            watching.cancel()
            await asyncio.wait([watching])
            _log.info(
                "media socket closed",
                extra={
                    "close_code": self.close_code or 0,
                    "messages": inlet.messages,
                    "malformed": self._malformed,
                    "heard_ms": inlet.chars // CHARS_PER_MS,
                    "left_out_ms": inlet.left_out_chars // CHARS_PER_MS,
                },
            )

    async def _receive(self, inlet: _Inlet) -> None:
        """Take what has to wait, until the connection is over."""
        while True:
            message = await self.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                if message.type in _OVER:
                    broken = cast("object", message.data)
                    if isinstance(broken, aiohttp.WebSocketError) and broken.code == TOO_BIG:
                        _log.error("media refused", extra={"code": "media_message_too_big"})
                    return
                await self._not_text(message.type, cast("bytes", message.data))
                continue
            try:
                inlet.take(message.data)
            except MalformedMessageError as error:
                inlet.messages += 1
                await self._bad(str(error))
            except UnsupportedAudioError as error:
                _log.error("media refused", extra={"code": "unsupported_audio", "why": str(error)})
                await self.close(code=UNSUPPORTED_DATA)
                return
            except _SessionOverError:
                await self.close(code=COME_AGAIN)
                return

    async def _not_text(self, kind: aiohttp.WSMsgType, data: bytes) -> None:
        match kind:
            case aiohttp.WSMsgType.PING:
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    await self.pong(data)
            case aiohttp.WSMsgType.PONG:
                self._pongs += 1
            case _:
                await self._bad("a binary message")

    async def _bad(self, why: str) -> None:
        """Leave out a message that can't be understood; give up on whoever sends nothing else."""
        self._malformed += 1
        if self._malformed == 1:
            _log.warning("media message left out", extra={"why": why})
        if self._malformed == MAX_MALFORMED:
            _log.error("media refused", extra={"code": "malformed_media", "why": why})
            await self.close(code=POLICY_VIOLATION)

    async def _watch(self, inlet: _Inlet) -> None:
        """See to it that audio comes, and not faster than somebody can speak."""
        clock = asyncio.get_running_loop().time
        pace = Pace(clock() * 1000)
        chars = left_out = messages = pongs = silent = unanswered = 0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            pace.look((inlet.chars - chars) / CHARS_PER_MS, clock() * 1000)
            pace.left_out((inlet.left_out_chars - left_out) / CHARS_PER_MS)
            silent = silent + 1 if inlet.messages == messages else 0
            unanswered = unanswered + 1 if silent and self._pongs == pongs else 0
            chars, left_out = inlet.chars, inlet.left_out_chars
            messages, pongs = inlet.messages, self._pongs
            if pace.too_far_ahead is not inlet.leaving_out:
                inlet.leaving_out = pace.too_far_ahead
                if inlet.leaving_out:
                    _log.warning("media left out", extra={"code": "media_too_fast"})
            if pace.newly_wrong:
                _log.warning("media off pace", extra={"times_real_time": round(pace.factor, 2)})
            if silent == QUIET_LOOKS:
                _log.warning("media socket is silent", extra={"seconds": int(silent * LOOK_EVERY_S)})
            if unanswered >= DEAD_LOOKS:
                await self.close(code=GOING_AWAY)
                return
            if silent >= QUIET_LOOKS:
                with contextlib.suppress(ConnectionError, aiohttp.ClientError, RuntimeError):
                    await self.ping()
