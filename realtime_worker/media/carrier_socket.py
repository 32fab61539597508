"""A carrier's media WebSocket on the worker's HTTP face: what it says goes to the session's caller line.

Sources: aiohttp's WebSocket server; the close codes of RFC 6455.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
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
from shared.prompt_websocket import PromptReading, text_head
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
# Below this, sending never waits (asyncio's and uvloop's low-water mark).
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


class CarrierSocket(PromptReading, web.WebSocketResponse[Literal[False]]):  # pyright: ignore[reportIncompatibleVariableOverride]  # on purpose: see PromptReading
    """One connection: the Wire of a caller line once it is prepared."""

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
        self._transport: asyncio.Transport | None = None
        self._attached = False
        self._messages = 0
        self._pongs = 0
        self._malformed = 0
        self._chars = 0  # of the caller's audio
        self._leaving_out = False
        self._left_out_chars = 0

    @property
    def free(self) -> bool:
        transport = self._transport
        return transport is not None and transport.get_write_buffer_size() < FREE_BYTES

    def send(self, message: bytes) -> None:
        # Straight to the transport: aiohttp would wait for a transport that is behind, and who sends here has
        # looked whether it is `free`. Whoever reads sees that a connection is over, and tells.
        transport = self._transport
        if transport is None or self._closed:
            return
        try:
            transport.write(text_head(len(message)) + message)
        except RuntimeError:  # how uvloop says that it is closed
            return

    async def shut(self, code: int) -> None:
        await self.close(code=code)

    async def close(
        self, *, code: int = aiohttp.WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        self.read_with(None)  # who closes has heard enough
        return await super().close(code=code, message=message, drain=drain)

    async def carry(self, line: CallerLine) -> None:
        """Pass everything on to `line` until the connection is over."""
        self._transport = self._writer.transport if self._writer is not None else None
        self.read_with(partial(self._take, line))
        watching = asyncio.create_task(self._watch(), name="media socket")
        try:
            await self._receive(line)
        finally:
            self.read_with(None)
            line.detach(self)
            watching.cancel()
            await asyncio.wait([watching])
            _log.info(
                "media socket closed",
                extra={
                    "close_code": self.close_code or 0,
                    "messages": self._messages,
                    "malformed": self._malformed,
                    "heard_ms": self._chars // CHARS_PER_MS,
                    "left_out_ms": self._left_out_chars // CHARS_PER_MS,
                },
            )

    def _take(self, line: CallerLine, message: bytes) -> None:
        """Do what a message says. Raises what a Framing raises, and _SessionOverError."""
        said = self._framing.read(message)
        if isinstance(said, bytes):
            if not self._attached:
                self._attach(line)
            self._chars += len(said)
            if self._leaving_out:
                self._left_out_chars += len(said)
            else:
                line.hear(said)
        elif said is not None:
            self._told(said, line)
        self._messages += 1

    async def _receive(self, line: CallerLine) -> None:
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
                self._take(line, message.data)
            except MalformedMessageError as error:
                self._messages += 1
                await self._bad(str(error))
            except UnsupportedAudioError as error:
                _log.error("media refused", extra={"code": "unsupported_audio", "why": str(error)})
                await self.close(code=UNSUPPORTED_DATA)
                return
            except _SessionOverError:
                await self.close(code=COME_AGAIN)
                return

    def _attach(self, line: CallerLine) -> None:
        self._attached = line.attach(self, self._framing)
        if not self._attached:
            raise _SessionOverError

    async def _not_text(self, kind: aiohttp.WSMsgType, data: bytes) -> None:
        match kind:
            case aiohttp.WSMsgType.PING:
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    await self.pong(data)
            case aiohttp.WSMsgType.PONG:
                self._pongs += 1
            case _:
                await self._bad("a binary message")

    def _told(self, event: MediaEvent, line: CallerLine) -> None:
        match event:
            case StreamOpened():
                self._attach(line)
            case KeyPressed(key=key):
                line.pressed(key)
            case MarkReached(name=name):
                line.reached(name)

    async def _bad(self, why: str) -> None:
        """Leave out a message that can't be understood; give up on whoever sends nothing else."""
        self._malformed += 1
        if self._malformed == 1:
            _log.warning("media message left out", extra={"why": why})
        if self._malformed == MAX_MALFORMED:
            _log.error("media refused", extra={"code": "malformed_media", "why": why})
            await self.close(code=POLICY_VIOLATION)

    async def _watch(self) -> None:
        """See to it that audio comes, and not faster than somebody can speak."""
        clock = asyncio.get_running_loop().time
        pace = Pace(clock() * 1000)
        chars = left_out = messages = pongs = silent = unanswered = 0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            pace.look((self._chars - chars) / CHARS_PER_MS, clock() * 1000)
            pace.left_out((self._left_out_chars - left_out) / CHARS_PER_MS)
            silent = silent + 1 if self._messages == messages else 0
            unanswered = unanswered + 1 if silent and self._pongs == pongs else 0
            chars, left_out = self._chars, self._left_out_chars
            messages, pongs = self._messages, self._pongs
            if pace.too_far_ahead is not self._leaving_out:
                self._leaving_out = pace.too_far_ahead
                if self._leaving_out:
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
