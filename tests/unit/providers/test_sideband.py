"""The sideband against a real WebSocket server: bad frames, closes, refused handshakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from socket import SHUT_RDWR

import aiohttp
import pytest
from aiohttp import web

from shared.errors import SidetoneError, UnavailableError
from shared.prompt_websocket import PromptReading
from shared.providers.protocol import AudioSource
from shared.providers.sideband import (
    MAX_FRAME_BYTES,
    UNREAD,
    MediaSocket,
    SidebandSocket,
    open_sideband,
)
from tests.support.eventually import eventually
from tests.support.ports import free_port

Behaviour = Callable[[web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncGenerator[str]:
    app = web.Application()
    app.router.add_get("/realtime", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"ws://127.0.0.1:{port}/realtime"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(behaviour: Behaviour) -> AsyncGenerator[SidebandSocket]:
    """Connect to a server whose side of the connection is `behaviour`."""

    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await behaviour(socket)
        return socket

    async with (
        serving(handler) as url,
        aiohttp.ClientSession(ws_response_class=MediaSocket) as http,  # type: ignore[arg-type]
    ):
        socket = await open_sideband(http, url, headers={"api-key": "k"}, ping_s=20)
        try:
            yield socket
        finally:
            await socket.close()


async def test_frames_that_are_no_events_are_left_out_and_logged_without_their_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def behaviour(socket: web.WebSocketResponse) -> None:
        await socket.send_str('{"type": "first", "n": 1}')
        await socket.send_str("what the caller said, not JSON")
        for frame in ("[1, 2]", "null", '"text"', '{"no": "type"}', '{"type": 7}', '{"type": "\\ud800"}'):
            await socket.send_str(frame)
        await socket.send_bytes(b'{"type": "binary"}')
        await socket.send_str('{"type": "last", "text": "äöü"}')
        await socket.close(code=1001)

    async with connected(behaviour) as socket:
        events = [event async for event in socket.events()]
        assert events == [{"type": "first", "n": 1}, {"type": "last", "text": "äöü"}]
        assert socket.close_code == 1001
    assert "provider frame is not JSON" in caplog.text
    assert "provider frame is not an event" in caplog.text
    assert "caller" not in caplog.text


async def test_what_nobody_reads_is_left_out_and_everything_else_comes_whatever_its_shape() -> None:
    async def behaviour(socket: web.WebSocketResponse) -> None:
        for kind in sorted(kind.decode() for kind in UNREAD):
            await socket.send_str(f'{{"type":"{kind}","event_id":"e1","delta":"a"}}')
        await socket.send_str('{"type":"response.output_audio.delta","delta":"UklG"}')
        await socket.send_str('{"type":"response.new_kind.delta"}')
        await socket.send_str('{"type":"session.updated","session":{"type":"rate_limits.updated"}}')
        await socket.send_str('{"type":"unfinished')
        await socket.close()

    async with connected(behaviour) as socket:
        events = [event["type"] async for event in socket.events()]
    assert events == ["response.output_audio.delta", "response.new_kind.delta", "session.updated"]


@pytest.mark.parametrize("prompt", [True, False])
async def test_audio_goes_to_its_sink_as_it_came_and_in_its_place_whatever_its_shape(
    prompt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not prompt:  # as with an aiohttp that makes its queues another way
        monkeypatch.setattr(PromptReading, "read_with", lambda *_: None)
    audio = '{"type":"response.output_audio.delta",'
    frames = [
        audio + '"event_id":"e1","response_id":"r1","item_id":"i1","content_index":0,"delta":"AAAA"}',
        audio + '"event_id":"e2","response_id":"r1","item_id":"i1","content_index":0,"delta":"BBBB"}',
        '{"type":"input_audio_buffer.speech_started","item_id":"u1"}',
        audio + '"event_id":"e3","response_id":"r2","item_id":"i2","content_index":1,"delta":"CCCC"}',
        audio + '"item_id":"i3","response_id":"r2","content_index":0,"delta":"DDDD"}',
        audio + '"item_id":"i4","response_id":"r2","content_index":0,"delta":"EEEE"}',
        audio + '"delta":"FFFF","item_id":"i5","response_id":"r2","content_index":2}',
        audio + '"nothing":1}',
    ]  # fmt: skip
    order: list[object] = []

    async def behaviour(socket: web.WebSocketResponse) -> None:
        for frame in frames:
            await socket.send_str(frame)
        await socket.close()

    def sink(source: AudioSource, piece: bytes) -> None:
        order.append((source.response_id, source.item_id, source.content_index, piece))

    async with connected(behaviour) as socket:
        socket.play_to(sink, lambda _: None)
        async for event in socket.events():
            order.append(event["type"])
    assert order == [
        ("r1", "i1", 0, b"AAAA"),
        ("r1", "i1", 0, b"BBBB"),
        "input_audio_buffer.speech_started",
        ("r2", "i2", 1, b"CCCC"),
        ("r2", "i3", 0, b"DDDD"),
        ("r2", "i4", 0, b"EEEE"),
        ("r2", "i5", 2, b"FFFF"),
        ("", "", 0, b""),
    ]


async def test_audio_waits_for_nobody_and_what_comes_behind_an_event_waits_for_it() -> None:
    audio = '{"type":"response.output_audio.delta","response_id":"r1","item_id":"i1","content_index":0,'
    order: list[object] = []

    async def behaviour(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_str(audio + '"delta":"AAAA"}')
        await socket.receive()
        await socket.send_str('{"type":"input_audio_buffer.speech_started"}')
        await socket.send_str(audio + '"delta":"BBBB"}')
        await socket.close()

    async with connected(behaviour) as socket:
        socket.play_to(
            lambda _, piece: order.append(piece), lambda event: order.append(f"told {event['type']}")
        )
        socket.send_audio(b"AAAA")
        await eventually(lambda: order == [b"AAAA"], what="audio comes through, though nobody iterates")
        socket.send_audio(b"AAAA")
        await eventually(lambda: len(order) == 2, what="the listener is told, though nobody iterates")
        async for event in socket.events():
            order.append(event["type"])
    speech = "input_audio_buffer.speech_started"
    assert order == [b"AAAA", f"told {speech}", speech, b"BBBB"]


async def test_a_sink_that_fails_ends_the_iteration() -> None:
    async def behaviour(socket: web.WebSocketResponse) -> None:
        await socket.send_str('{"type":"response.output_audio.delta","response_id":"r1","delta":"AAAA"}')
        await socket.receive()

    def sink(source: AudioSource, piece: bytes) -> None:
        raise ZeroDivisionError

    async with connected(behaviour) as socket:
        socket.play_to(sink, lambda _: None)
        with pytest.raises(ZeroDivisionError):
            _ = [event async for event in socket.events()]


@pytest.mark.parametrize("size", [4, 1280, 100_000])
async def test_audio_of_any_length_goes_out_whole(size: int) -> None:
    heard: list[int] = []

    async def behaviour(socket: web.WebSocketResponse) -> None:
        heard.append(len((await socket.receive_json())["audio"]))
        await socket.close()

    async with connected(behaviour) as socket:
        socket.send_audio(b"A" * size)
        assert [event async for event in socket.events()] == []
    assert heard == [size]


@pytest.mark.parametrize("wanted", [False, True])
async def test_the_agents_words_are_told_as_they_come_to_who_wants_them(wanted: bool) -> None:
    delta = "response.output_audio_transcript.delta"

    async def behaviour(socket: web.WebSocketResponse) -> None:
        await socket.send_str(f'{{"type":"{delta}","response_id":"r1","delta":"Hello"}}')
        await socket.send_str('{"type":"response.function_call_arguments.delta","delta":"{"}')
        await socket.send_str('{"type":"response.done"}')
        await socket.close()

    async with connected(behaviour) as socket:
        socket.tell_words(True)
        socket.tell_words(wanted)
        told = [event["type"] async for event in socket.events()]
    assert told == [*([delta] if wanted else []), "response.done"]


async def test_events_are_taken_as_they_come_and_yielded_in_their_place_while_there_is_no_room() -> None:
    told: list[tuple[str, object]] = []
    told_all = asyncio.Event()

    async def behaviour(socket: web.WebSocketResponse) -> None:
        for number in range(9):
            await socket.send_str(f'{{"type":"told","number":{number}}}')
        await told_all.wait()
        await socket.send_str('{"type":"told","number":9}')
        await socket.close()

    def take(event: Mapping[str, object]) -> bool:
        if event["number"] in {3, 4, 7}:
            return False
        told.append(("taken", event["number"]))
        if event["number"] == 8:
            told_all.set()
        return True

    async with connected(behaviour) as socket:
        socket.give_to(take)
        async for event in socket.events():
            told.append(("yielded", event["number"]))
    assert [number for _, number in told] == list(range(10))
    assert {number for how, number in told if how == "yielded"} == {3, 4, 7}


async def test_audio_of_the_caller_goes_out_as_it_came() -> None:
    heard: list[str] = []

    async def behaviour(socket: web.WebSocketResponse) -> None:
        heard.append(await socket.receive_str())
        await socket.close()

    async with connected(behaviour) as socket:
        assert socket.free
        socket.send_audio(b"AAAA")
        assert [event async for event in socket.events()] == []
        with pytest.raises(UnavailableError) as caught:
            socket.send_audio(b"AAAA")
        assert caught.value.code == "provider_disconnected"
    assert heard == ['{"type":"input_audio_buffer.append","audio":"AAAA"}']


async def test_a_connection_that_breaks_without_a_close_frame_ends_the_events() -> None:
    async def behaviour(socket: web.WebSocketResponse) -> None:
        await socket.send_str('{"type": "first"}')
        socket.get_extra_info("socket").shutdown(SHUT_RDWR)

    async with connected(behaviour) as socket:
        async with asyncio.timeout(5):
            assert [event["type"] async for event in socket.events()] in (["first"], [])
        assert socket.close_code == 1006


async def test_a_frame_beyond_the_limit_ends_the_connection() -> None:
    async def behaviour(socket: web.WebSocketResponse) -> None:
        await socket.send_str('{"type": "huge", "data": "' + "x" * MAX_FRAME_BYTES + '"}')
        async for _ in socket:
            pass

    async with connected(behaviour) as socket:
        async with asyncio.timeout(10):
            assert [event async for event in socket.events()] == []
        assert socket.close_code == 1009


async def test_what_is_sent_arrives_as_json_and_sending_after_the_close_is_told() -> None:
    received: asyncio.Queue[str] = asyncio.Queue()

    async def behaviour(socket: web.WebSocketResponse) -> None:
        received.put_nowait(await socket.receive_str())
        await socket.close()

    async with connected(behaviour) as socket:
        await socket.send({"type": "session.update", "session": {"instructions": "Grüße"}})
        assert await received.get() == '{"type":"session.update","session":{"instructions":"Grüße"}}'
        assert [event async for event in socket.events()] == []
        with pytest.raises(SidetoneError) as raised:
            await socket.send({"type": "response.create"})
        assert (raised.value.code, raised.value.retryable) == ("provider_disconnected", True)
        await socket.close()
        await socket.close()


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (401, "provider_unauthorized", False),
        (403, "provider_unauthorized", False),
        (404, "call_not_found", False),
        (429, "provider_rate_limited", True),
        (400, "provider_rejected", False),
        (500, "provider_unavailable", True),
        (503, "provider_unavailable", True),
        (200, "provider_rejected", False),
    ],
)
async def test_a_refused_handshake_says_what_to_do(status: int, code: str, retryable: bool) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    async with serving(handler) as url, aiohttp.ClientSession() as http:
        with pytest.raises(SidetoneError) as raised:
            await open_sideband(http, url, headers={}, ping_s=20)
    assert (raised.value.code, raised.value.retryable) == (code, retryable)


async def test_a_service_that_can_not_be_reached_is_unavailable() -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(SidetoneError, match="provider_unavailable") as raised:
            await open_sideband(http, f"ws://127.0.0.1:{free_port()}/realtime", headers={}, ping_s=20)
    assert raised.value.retryable


async def test_a_service_that_does_not_answer_the_handshake_is_given_up() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(handler) as url, aiohttp.ClientSession() as http:
        with pytest.raises(SidetoneError, match="provider_unavailable"):
            await open_sideband(http, url, headers={}, ping_s=20, timeout_s=0.2)
