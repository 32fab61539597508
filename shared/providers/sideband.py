"""The sideband: a WebSocket to a call whose audio flows elsewhere; and one that carries the audio too.

Sources: the Realtime API's server-side controls guide; aiohttp's WebSocket client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

import aiohttp
import orjson

from shared.errors import UnavailableError
from shared.providers.failures import failure_of, unreachable

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
        "conversation.item.input_audio_transcription.delta",
        "input_audio_buffer.committed",
        "rate_limits.updated",
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_audio.done",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.done",
        "response.output_item.added",
        "response.output_text.delta",
        "response.output_text.done",
    }
)
_TYPE_FIRST = '{"type":"'
_TYPE_AT = len(_TYPE_FIRST)


class SidebandSocket:
    """A ProviderSocket over aiohttp."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    @property
    def close_code(self) -> int | None:
        return self._socket.close_code

    async def send(self, event: Mapping[str, object]) -> None:
        try:
            await self._socket.send_str(orjson.dumps(event).decode())
        except (ConnectionError, aiohttp.ClientError) as error:
            raise UnavailableError(
                "provider_disconnected", "The sideband closed before the event could be sent."
            ) from error

    async def events(self) -> AsyncIterator[dict[str, object]]:
        receive = self._socket.receive  # its own iterator, but without a coroutine more for each frame
        while True:
            message = await receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                frame: str = message.data
                # The service writes the type first, and types have no escapes; other shapes are decoded.
                if frame.startswith(_TYPE_FIRST) and frame[_TYPE_AT : frame.find('"', _TYPE_AT)] in UNREAD:
                    continue
                event = _decode(frame)
                if event is not None:
                    yield event
            elif message.type in _OVER:
                return

    async def close(self) -> None:
        await self._socket.close()


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
                compress=0,
                max_msg_size=MAX_FRAME_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),  # pyright: ignore[reportCallIssue]  # attrs class
            )
    except aiohttp.WSServerHandshakeError as error:
        raise failure_of(error.status, on_404 if error.status == HTTPStatus.NOT_FOUND else "") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unreachable(error) from error
    return SidebandSocket(socket)


def _decode(data: str) -> dict[str, object] | None:
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
