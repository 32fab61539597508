"""A carrier's media WebSocket on the worker's HTTP face: what it says goes to the session's caller line.

Sources: aiohttp's WebSocket server; the close codes of RFC 6455.
"""

from __future__ import annotations

import asyncio
import contextlib
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

# Heads of text frames, RFC 6455 section 5.2; the server's are not masked.
_FINAL_TEXT = 0x81
_FINAL_TEXT_16, _FINAL_TEXT_64 = b"\x81\x7e", b"\x81\x7f"
_SHORT, _MEDIUM = 126, 65_535

_OVER = frozenset(
    {
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSING,
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.ERROR,
    }
)

_log = get_logger(__name__)


class CarrierSocket(web.WebSocketResponse[Literal[False]]):
    """One connection: the Wire of a caller line once it is prepared."""

    def __init__(self, framing: Framing) -> None:
        super().__init__(
            timeout=CLOSE_WITHIN_S,
            max_msg_size=MAX_MESSAGE_BYTES,
            compress=False,
            decode_text=False,
            autoping=False,  # a pong is a sign of life
        )
        self._framing = framing
        self._attached = False
        self._messages = 0
        self._pongs = 0
        self._malformed = 0
        self._chars = 0  # of the caller's audio
        self._leaving_out = False
        self._left_out_chars = 0

    @property
    def free(self) -> bool:
        writer = self._writer
        return writer is not None and writer.transport.get_write_buffer_size() < FREE_BYTES

    def send(self, message: bytes) -> None:
        # Straight to the transport: aiohttp would wait for a transport that is behind, and who sends here has
        # looked whether it is `free`. Whoever reads sees that a connection is over, and tells.
        writer, size = self._writer, len(message)
        if writer is None or self._closed:
            return
        if size < _SHORT:
            head = bytes((_FINAL_TEXT, size))
        elif size <= _MEDIUM:
            head = _FINAL_TEXT_16 + size.to_bytes(2, "big")
        else:
            head = _FINAL_TEXT_64 + size.to_bytes(8, "big")
        try:
            writer.transport.write(head + message)
        except RuntimeError:  # how uvloop says that it is closed
            return

    async def shut(self, code: int) -> None:
        await self.close(code=code)

    async def carry(self, line: CallerLine) -> None:
        """Pass everything on to `line` until the connection is over."""
        watching = asyncio.create_task(self._watch(), name="media socket")
        try:
            await self._read(line)
        finally:
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

    async def _read(self, line: CallerLine) -> None:
        receive, read, hear, text = self.receive, self._framing.read, line.hear, aiohttp.WSMsgType.TEXT
        while True:
            message = await receive()
            if message.type is not text:
                if message.type in _OVER:
                    broken = cast("object", message.data)
                    if isinstance(broken, aiohttp.WebSocketError) and broken.code == TOO_BIG:
                        _log.error("media refused", extra={"code": "media_message_too_big"})
                    return
                await self._not_text(message.type, cast("bytes", message.data))
                continue
            self._messages += 1
            try:
                said = read(message.data)
            except MalformedMessageError as error:
                await self._bad(str(error))
                continue
            except UnsupportedAudioError as error:
                _log.error("media refused", extra={"code": "unsupported_audio", "why": str(error)})
                await self.close(code=UNSUPPORTED_DATA)
                return
            if isinstance(said, bytes):
                if not self._attached and not self._attach(line):
                    await self.close(code=COME_AGAIN)
                    return
                self._chars += len(said)
                if self._leaving_out:
                    self._left_out_chars += len(said)
                else:
                    await hear(said)
            elif said is not None:
                self._told(said, line)

    def _attach(self, line: CallerLine) -> bool:
        self._attached = line.attach(self, self._framing)
        return self._attached

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
