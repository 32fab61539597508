"""WebSocket frames (RFC 6455, 5.2) as both ends of a bridge write and read them, and the messages in them.

Messages are those of Communication Services' media streaming and of the GA Realtime API: 20 ms of PCM at
24 kHz. The first characters of the audio are the frame's number, by which its echo is known.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from typing import cast

# A fifth of what Python's integers take for it; a private name, but it costs nobody a call if it goes.
from aiohttp._websocket.helpers import websocket_mask

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NUMBER_CHARS = 8

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REST = base64.b64encode(bytes(range(256)) * 4)[: 1280 - NUMBER_CHARS]
_HEARD = (
    b'{"kind":"AudioData","audioData":{"timestamp":"2026-11-21T09:00:02.948Z",'
    b'"participantRawID":"4:+15550100","data":"'
)
_HEARD_END = _REST + b'","silent":false}}'
_HEARD_SIZE = len(_HEARD) + NUMBER_CHARS + len(_HEARD_END)
METADATA = (
    b'{"kind":"AudioMetadata","audioMetadata":{"subscriptionId":"s","encoding":"PCM","sampleRate":24000,'
    b'"channels":1,"length":960}}'
)


def delta(response: int, audio: bytes) -> bytes:
    """Return the message that has the agent say `audio`."""
    return (
        b'{"type":"response.output_audio.delta","event_id":"event_Bq7","response_id":"resp_%d",'
        b'"item_id":"item_%d","output_index":0,"content_index":0,"delta":"%b"}' % (response, response, audio)
    )


def audio_in(message: bytes, before: bytes) -> bytes:
    """Return what stands between `before` and the next quote, b"" where there is none."""
    at = message.find(before)
    return message[at + len(before) : message.find(b'"', at + len(before))] if at >= 0 else b""


def frame(payload: bytes, kind: int = TEXT, *, masked: bool) -> bytes:
    """Return a frame. A client's is masked with zeros, which leaves it as it is."""
    return _head(len(payload), kind, masked=masked) + payload


def _head(size: int, kind: int, *, masked: bool) -> bytes:
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((0x80 | kind, size | bit))
    else:
        head = bytes((0x80 | kind, 126 | bit)) + size.to_bytes(2, "big")
    return head + (b"\0\0\0\0" if masked else b"")


_HEARD_HEAD = _head(_HEARD_SIZE, TEXT, masked=True) + _HEARD


def heard(number: int) -> bytes:
    """Return the frame, head and all, of one piece that the caller spoke."""
    return b"%b%08d%b" % (_HEARD_HEAD, number, _HEARD_END)


class Socket(asyncio.Protocol):
    """One end of a WebSocket, straight on the transport: who measures must cost little."""

    client = False

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._open = False

    def opened(self) -> None:
        """The handshake is done."""

    def text(self, payload: bytes) -> None:
        """A text message came."""

    def send(self, payload: bytes) -> None:
        """Send a text message."""
        if self._transport is not None:
            self._transport.write(frame(payload, masked=self.client))

    def send_frame(self, framed: bytes) -> None:
        """Send what has its head already."""
        if self._transport is not None:
            self._transport.write(framed)

    @property
    def alive(self) -> bool:
        return self._open and self._transport is not None

    def close(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0 if self._open else self._shake_hands(data)
        length = len(data)
        while length - at >= 2:
            size, start = data[at + 1] & 0x7F, at + 2
            if size >= 126:
                start = at + (4 if size == 126 else 10)
                size = int.from_bytes(data[at + 2 : start], "big")
            masked = data[at + 1] & 0x80
            if masked:
                start += 4
            if start + size > length:
                break
            payload, kind = data[start : start + size], data[at] & 0x0F
            if masked:
                payload = _unmasked(payload, data[start - 4 : start])
            at = start + size
            if kind == TEXT:
                self.text(payload)
            else:
                self._control(kind, payload)
        self._rest = data[at:]

    def _control(self, kind: int, payload: bytes) -> None:
        if kind == PING:
            self.send_frame(frame(payload, PONG, masked=self.client))
        elif kind == CLOSE:
            self.close()

    def _answer(self, head: bytes) -> bytes | None:
        """Return what to send when the other side's head of the handshake has come; None if it is not one."""
        lines = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        key = {name.lower(): value for name, value in lines}.get(b"sec-websocket-key")
        if key is None:
            return None
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def _shake_hands(self, data: bytes) -> int:
        """Return where frames begin; before the handshake is done, nothing is left for them."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end or self._transport is None:
            self._rest = data
            return len(data)
        if self.client:
            if b" 101 " not in head.split(b"\r\n")[0]:
                self._transport.abort()
                return len(data)
        elif (answer := self._answer(head)) is None:
            # A worker asks once whether the service knows its model: this one does not tell.
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._transport.close()
            return len(data)
        else:
            self._transport.write(answer)
        self._open = True
        self.opened()
        return len(data) - len(rest)


def handshake(path: str, headers: dict[str, str]) -> bytes:
    """Return a client's request."""
    told = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    plain = bytearray(payload)
    websocket_mask(mask, plain)
    return bytes(plain)
