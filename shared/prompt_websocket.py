"""Text messages of aiohttp's WebSockets, read in the same step of the event loop in which they came, and
written without waiting.

aiohttp puts a message into a queue and wakes the task that waits for it: a future, a task's step and another
turn of the loop. Audio comes fifty times a second and waits for nothing, so it can do without. What is left
for the task, and what comes behind something that the task has not taken yet, goes through the queue as ever.

Sources: aiohttp 3.14: `_websocket/reader_py.py`, `ClientSession._ws_connect`,
`WebSocketResponse._post_start`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from random import getrandbits
from typing import TYPE_CHECKING, TypeAlias

from aiohttp import WSMessage, WSMsgType
from aiohttp._websocket.helpers import websocket_mask
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader

if TYPE_CHECKING:
    from aiohttp.base_protocol import BaseProtocol
    from aiohttp.http_websocket import WSMessageTextBytes

PromptReader: TypeAlias = Callable[[bytes], object | None]
"""Does what a message asks for and returns None; or returns what `receive` is to return as the message's
data: the message itself, or what was made of it. A message at which it fails is received as it came, so that
the task that reads it again meets the failure."""

# Heads of text frames, RFC 6455 section 5.2.
_FINAL_TEXT, _MASKED = 0x81, 0x80
_SHORT, _MEDIUM = 126, 65_535

_TEXT = WSMsgType.TEXT
_QUEUED_BYTES = 65_536


def text_head(size: int) -> bytes:
    """Return what a server writes before a text message."""
    if size < _SHORT:
        return bytes((_FINAL_TEXT, size))
    if size <= _MEDIUM:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


def masked_text(message: bytes) -> bytes:
    """Return the frame of a text message as a client sends it."""
    size, mask = len(message), getrandbits(32).to_bytes(4, "big")
    masked = bytearray(message)
    websocket_mask(mask, masked)
    if size < _SHORT:
        head = bytes((_FINAL_TEXT, _MASKED | size))
    elif size <= _MEDIUM:
        head = b"\x81\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\x81\xff" + size.to_bytes(8, "big")
    return b"".join((head, mask, masked))


def leave_at_once(transport: asyncio.WriteTransport) -> None:
    """Have what is written leave in that step: uvloop collects it until the end of the loop's turn, unless it
    would have to hold back whoever writes."""
    transport.set_write_buffer_limits(high=0)


class PromptReading:
    """A base to put before one of aiohttp's two WebSocket classes, for text that stays bytes and is not
    compressed.

    Both assign the parser of a connection to `_parser` before anything is read; here it becomes one whose
    queue asks a reader first. Should aiohttp cease to do so, everything goes through its own queue.
    """

    max_message_bytes = 0
    _reader: WebSocketDataQueue
    _prompt_parser: WebSocketReader | None = None

    def read_with(self, reader: PromptReader | None) -> None:
        """Have `reader` look at each text message first; it is called in the context of the connection's
        handshake."""
        if isinstance(self._reader, _PromptQueue):
            self._reader.reader = reader

    @property
    def _parser(self) -> WebSocketReader | None:
        return self._prompt_parser

    @_parser.setter
    def _parser(self, parser: WebSocketReader | None) -> None:
        if parser is not None:
            self._reader = _PromptQueue(self._reader._protocol)  # pyright: ignore[reportPrivateUsage]  # its only name
            parser = WebSocketReader(self._reader, self.max_message_bytes, compress=False, decode_text=False)
        self._prompt_parser = parser


class _PromptQueue(WebSocketDataQueue):
    """What waits to be received, after a reader has looked at it."""

    __slots__ = ("_run", "_waiting", "reader")  # looked up faster than in a dictionary

    def __init__(self, protocol: BaseProtocol) -> None:
        super().__init__(protocol, _QUEUED_BYTES, loop=asyncio.get_running_loop())
        self.reader: PromptReader | None = None
        self._waiting = self._buffer
        self._run = copy_context().run

    def feed_data(self, data: WSMessage | WSMessageTextBytes, size: int) -> None:
        reader = self.reader
        if reader is not None and data[0] is _TEXT and not self._waiting:
            try:
                left = self._run(reader, data[1])
            except Exception:  # noqa: S110  # it is read again by a task, which tells
                pass
            else:
                if left is None:
                    return
                data = WSMessage(_TEXT, left, "")
        super().feed_data(data, size)
