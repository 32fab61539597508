"""The sideband: a WebSocket to a call whose audio flows elsewhere; and one that carries the audio too.

Sources: the Realtime API's server-side controls guide; aiohttp's WebSocket client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Literal, cast

import aiohttp
import orjson

from shared.errors import UnavailableError
from shared.prompt_websocket import PromptReading, leave_at_once, masked_text
from shared.providers.failures import failure_of, unreachable
from shared.providers.protocol import AudioSink, AudioSource, EventListener, EventTaker

_log = logging.getLogger("sidetone.providers.sideband")

# The largest frame we accept: a response.done repeats all output items of its response.
MAX_FRAME_BYTES = 8 * 1024 * 1024

_OVER = frozenset(
    {
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSING,
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.ERROR,
    }
)
# What no part of the product reads: later events repeat it, or nobody needs it. They are most of a call's
# events, and left out before they are decoded. Whoever begins to use one takes it off this list.
UNREAD = frozenset(
    {
        b"conversation.item.input_audio_transcription.delta",
        b"input_audio_buffer.committed",
        b"rate_limits.updated",
        b"response.content_part.added",
        b"response.content_part.done",
        b"response.function_call_arguments.delta",
        b"response.function_call_arguments.done",
        b"response.output_audio.done",
        b"response.output_audio_transcript.delta",
        b"response.output_audio_transcript.done",
        b"response.output_item.added",
        b"response.output_text.delta",
        b"response.output_text.done",
    }
)
_WORDS = b"response.output_audio_transcript.delta"
# The service writes the type first, and types have no escapes; frames of other shapes are decoded.
_TYPE_FIRST = b'{"type":"'
_TYPE_AT = len(_TYPE_FIRST)
_UNREAD_FRAMES = frozenset(_TYPE_FIRST + kind for kind in UNREAD)  # as they begin, up to the type's end
_UNREAD_WITH_WORDS = _UNREAD_FRAMES - {_TYPE_FIRST + _WORDS}
_AUDIO_FIRST = b'{"type":"response.output_audio.delta"'
_SOURCE = b'"response_id":'
_DELTA = b'"delta":"'
_APPEND = b'{"type":"input_audio_buffer.append","audio":"'
_APPEND_END = b'"}'
# A service that has taken less than all but this much is behind: it is a quarter of a second of audio.
_FREE_BYTES = 16_384
# For so long after something came, a connection is not looked after.
_ALIVE_FOR_S = 1.0


class MediaSocket(PromptReading, aiohttp.ClientWebSocketResponse[Literal[False]]):  # pyright: ignore[reportIncompatibleVariableOverride]  # on purpose: see PromptReading
    """A WebSocket whose text is read as it comes, and to which audio can be sent without waiting; give it to
    a ClientSession."""

    max_message_bytes = MAX_FRAME_BYTES
    _alive_at = 0.0

    @property
    def transport(self) -> asyncio.Transport:
        return self._writer.transport

    def send_now(self, message: bytes) -> None:
        """Send a text message, however much waits in this process already."""
        if self._closed or self._closing or self._writer.transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection is closed")
        self._writer.transport.write(masked_text(message))

    def _on_data_received(self) -> None:
        # aiohttp moves its next ping for everything that comes. Audio comes 50 times a second, and that would
        # cost more than to pass it on; now and then is enough. Should aiohttp cease to call this, it pings.
        now = self._loop.time()
        if now - self._alive_at > _ALIVE_FOR_S:
            self._alive_at = now
            super()._on_data_received()


class SidebandSocket:
    """A ProviderSocket over aiohttp."""

    def __init__(self, socket: MediaSocket) -> None:
        self._socket = socket
        self._backlog = socket.transport.get_write_buffer_size
        self._sink: AudioSink | None = None
        self._listener: EventListener | None = None
        self._taker: EventTaker | None = None
        self._unread = _UNREAD_FRAMES
        self._source = AudioSource(response_id="", item_id="", content_index=0)
        self._written_source = b""  # from the response's id to where the audio begins
        self._source_at = 0
        self._audio_at = 0
        leave_at_once(socket.transport)
        socket.read_with(self._read)

    @property
    def close_code(self) -> int | None:
        return self._socket.close_code

    async def send(self, event: Mapping[str, object]) -> None:
        try:
            await self._socket.send_frame(orjson.dumps(event), aiohttp.WSMsgType.TEXT)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise _disconnected() from error

    @property
    def free(self) -> bool:
        return self._backlog() < _FREE_BYTES

    def send_audio(self, audio: bytes) -> None:
        try:
            self._socket.send_now(_APPEND + audio + _APPEND_END)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise _disconnected() from error

    def play_to(self, sink: AudioSink, listener: EventListener) -> None:
        self._sink, self._listener = sink, listener

    def tell_words(self, wanted: bool) -> None:
        self._unread = _UNREAD_WITH_WORDS if wanted else _UNREAD_FRAMES

    def give_to(self, taker: EventTaker | None) -> None:
        self._taker = taker

    async def events(self) -> AsyncIterator[dict[str, object]]:
        receive = self._socket.receive
        try:
            while True:
                message = await receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    event: object = message.data
                    if isinstance(event, bytes):  # it came behind one that was not taken yet
                        event = self._read(event)
                    if event is not None:
                        yield cast("dict[str, object]", event)
                elif message.type in _OVER:
                    break
        finally:
            self._sink = self._listener = self._taker = None

    async def close(self) -> None:
        self._sink = self._listener = self._taker = None
        await self._socket.close()

    def _read(self, frame: bytes) -> dict[str, object] | None:
        """Return the event in a frame that is for whoever iterates over them; what is not, is done here."""
        sink = self._sink
        if sink is not None and frame.startswith(_AUDIO_FIRST):
            # What audio belongs to is written the same in all frames of a content.
            if frame.startswith(self._written_source, self._source_at):
                end = frame.find(b'"', self._audio_at)
                if end > self._audio_at > 0:
                    sink(self._source, frame[self._audio_at : end])
                    return None
            sink(*self._other_audio(frame))
            return None
        if frame[: frame.find(b'"', _TYPE_AT)] in self._unread:
            return None
        event = _decode(frame)
        if event is None:
            return None
        if self._listener is not None:
            self._listener(event)
        return None if self._taker is not None and self._taker(event) else event

    def _other_audio(self, frame: bytes) -> tuple[AudioSource, bytes]:
        """Return the audio in a frame that is not written like the one before, and learn how it is."""
        self._source, audio = _decoded_audio(frame)
        at, start = frame.find(_SOURCE), frame.find(_DELTA) + len(_DELTA)
        written = frame[at:start] if 0 < at < start else b""
        complete = b'"item_id":' in written and b'"content_index":' in written
        self._written_source, self._source_at, self._audio_at = (
            (written, at, start) if complete else (b"", 0, 0)
        )
        return self._source, audio


async def open_sideband(
    http: aiohttp.ClientSession,
    url: str,
    *,
    headers: Mapping[str, str],
    ping_s: float,
    timeout_s: float = 10.0,
) -> SidebandSocket:
    """Attach to the call that `url` names; pings every `ping_s` keep idle proxies from cutting it off.

    Raises `call_not_found` on 404 and the other provider errors as they are.
    """
    return await _connect(http, url, headers, ping_s, timeout_s, on_404="call_id_not_found")


async def open_session(
    http: aiohttp.ClientSession,
    url: str,
    *,
    headers: Mapping[str, str],
    ping_s: float,
    timeout_s: float = 10.0,
) -> SidebandSocket:
    """Open a session that belongs to its connection; otherwise like `open_sideband`."""
    return await _connect(http, url, headers, ping_s, timeout_s, on_404="")


async def _connect(
    http: aiohttp.ClientSession,
    url: str,
    headers: Mapping[str, str],
    ping_s: float,
    timeout_s: float,
    *,
    on_404: str,
) -> SidebandSocket:
    try:
        async with asyncio.timeout(timeout_s):
            socket = await http.ws_connect(
                url,
                headers=headers,
                heartbeat=ping_s,
                decode_text=False,
                compress=0,
                max_msg_size=MAX_FRAME_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),  # pyright: ignore[reportCallIssue]  # attrs class
            )
    except aiohttp.WSServerHandshakeError as error:
        raise failure_of(error.status, on_404 if error.status == HTTPStatus.NOT_FOUND else "") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unreachable(error) from error
    return SidebandSocket(cast("MediaSocket", socket))


def _disconnected() -> UnavailableError:
    return UnavailableError("provider_disconnected", "The connection closed before the event could be sent.")


def _decoded_audio(frame: bytes) -> tuple[AudioSource, bytes]:
    """Return the audio in a frame of any shape; none for a frame that is not one."""
    event = _decode(frame) or {}
    response_id, item_id, delta = (event.get(name) for name in ("response_id", "item_id", "delta"))
    index = event.get("content_index")
    source = AudioSource(
        response_id=response_id if isinstance(response_id, str) else "",
        item_id=item_id if isinstance(item_id, str) else "",
        content_index=index if isinstance(index, int) else 0,
    )
    return source, delta.encode() if isinstance(delta, str) else b""


def _decode(data: bytes) -> dict[str, object] | None:
    """Return the event, or None for a frame that is not one: the call must outlive a bad frame."""
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        _log.warning("provider frame is not JSON", extra={"bytes": len(data)})
        return None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        _log.warning("provider frame is not an event", extra={"bytes": len(data)})
        return None
    return event
