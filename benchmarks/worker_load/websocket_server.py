"""The server's side of a WebSocket, and no more of it than a benchmark's service needs.

RFC 6455 without extensions and without fragments, straight on an asyncio protocol: whoever measures
clients must cost less than they do, and write many frames in one call.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import cast
from urllib.parse import parse_qs, urlsplit

from benchmarks.worker_load.turn import framed

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING = 0x1, 0x8, 0x9


class ServerSocket(asyncio.Protocol):
    """One connection. Subclasses override `opened`, `text` and `closed`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._open = False

    def opened(self, query: dict[str, str]) -> None:
        """The client has connected; `query` is that of its URL."""

    def text(self, payload: bytes) -> None:
        """A text message came."""

    def closed(self) -> None:
        """The connection is over."""

    def write(self, frames: bytes) -> None:
        """Write one or more frames."""
        if self._transport is not None:
            self._transport.write(frames)

    def send(self, payload: bytes) -> None:
        """Write a text message."""
        self.write(framed(payload))

    def close(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.closed()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open and not self._shake_hands():
            return
        while self._take_frame():
            pass

    def _shake_hands(self) -> bool:
        head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not end or self._transport is None:
            return False
        request, *lines = head.split(b"\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines)
        }
        key = headers.get(b"sec-websocket-key")
        if key is None:  # a plain request: a hang-up
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._transport.close()
            return False
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._buffer = bytearray(rest)
        self._open = True
        query = parse_qs(urlsplit(request.split(b" ")[1].decode()).query)
        self.opened({name: values[0] for name, values in query.items()})
        return True

    def _take_frame(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, at = buffer[1] & 0x7F, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:at], "big")
        end = at + 4 + size
        if len(buffer) < end:
            return False
        kind = buffer[0] & 0x0F
        payload = _unmasked(bytes(buffer[at + 4 : end]), bytes(buffer[at : at + 4]))
        del buffer[:end]
        if kind == _TEXT:
            self.text(payload)
        elif kind == _PING:
            self.write(bytes((0x8A, len(payload))) + payload)
        elif kind == _CLOSE and self._transport is not None:
            self._transport.write(bytes((0x88, len(payload))) + payload)
            self._transport.close()
        return True


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
