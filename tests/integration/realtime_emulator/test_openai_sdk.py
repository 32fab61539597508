"""The official openai SDK, unmodified, against the emulator."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import websockets
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.support.eventually import eventually
from tests.support.realtime_emulator import FAST, MINIMAL_OFFER, SESSION, RunningEmulator, running_emulator


@pytest.fixture
async def emulator() -> AsyncIterator[RunningEmulator]:
    async with running_emulator() as running:
        yield running


async def _until(connection: AsyncRealtimeConnection, kind: str) -> list[Any]:
    """Read events up to the first of this type."""
    seen: list[Any] = []
    async with asyncio.timeout(10):
        async for event in connection:
            seen.append(event)
            if event.type == kind:
                return seen
    raise AssertionError(f"the connection ended before {kind}: {[event.type for event in seen]}")


async def test_a_client_secret_is_bound_to_its_session(emulator: RunningEmulator) -> None:
    created = await emulator.client.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 120},
        session=SESSION,  # type: ignore[arg-type]
    )
    assert created.value.startswith("ek_")
    assert created.session.instructions == SESSION["instructions"]
    client = emulator.openai(created.value)
    answer = await client.realtime.calls.with_raw_response.create(sdp=MINIMAL_OFFER)
    assert answer.http_response.status_code == 201
    assert answer.headers["content-type"].startswith("application/sdp")
    assert answer.headers["location"].startswith("/v1/realtime/calls/rtc_")
    call_id = answer.headers["location"].rsplit("/", 1)[1]
    async with emulator.client.realtime.connect(call_id=call_id) as connection:
        (greeting,) = await _until(connection, "session.created")
    assert greeting.session.instructions == SESSION["instructions"]
    assert greeting.session.tools[0].name == "get_claim"
    assert greeting.session.audio.output.voice == "marin"


async def test_a_secret_is_good_for_nothing_but_calls(emulator: RunningEmulator) -> None:
    created = await emulator.client.realtime.client_secrets.create(session=SESSION)  # type: ignore[arg-type]
    client = emulator.openai(created.value)
    with pytest.raises(openai.AuthenticationError):
        await client.realtime.client_secrets.create(session=SESSION)  # type: ignore[arg-type]
    with pytest.raises(openai.AuthenticationError):
        await client.realtime.calls.create(sdp=MINIMAL_OFFER, session=SESSION)  # type: ignore[arg-type]
    call_id = await emulator.start_call()
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with client.realtime.connect(call_id=call_id):
            pass
    assert refused.value.response.status_code == 404
    await emulator.emu("POST", "expire-secrets")
    with pytest.raises(openai.AuthenticationError):
        await client.realtime.calls.create(sdp=MINIMAL_OFFER)


async def test_several_sidebands_see_the_same_events(emulator: RunningEmulator) -> None:
    call_id = await emulator.start_call()
    async with (
        emulator.client.realtime.connect(call_id=call_id) as worker,
        emulator.client.realtime.connect(call_id=call_id) as observer,
    ):
        await _until(worker, "session.created")
        await _until(observer, "session.created")
        await worker.response.create()
        ours = await _until(worker, "output_audio_buffer.stopped")
        theirs = await _until(observer, "output_audio_buffer.stopped")
        assert [event.event_id for event in ours] == [event.event_id for event in theirs]
        assert "response.output_audio.delta" not in {event.type for event in ours}
        await worker.send({"type": "response.cancel", "event_id": "mine"})
        (error,) = await _until(worker, "error")
        assert (error.error.event_id, error.error.code) == ("mine", "response_cancel_not_active")
        await emulator.client.realtime.calls.hangup(call_id)
        assert [event.type async for event in observer] == [], "errors go to who caused them; then the end"
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with emulator.client.realtime.connect(call_id=call_id):
            pass
    assert refused.value.response.status_code == 404
    assert b"call_id_not_found" in (refused.value.response.body or b"")


async def test_a_claim_is_looked_up_by_a_tool(emulator: RunningEmulator) -> None:
    call_id = await emulator.start_call()
    async with emulator.client.realtime.connect(call_id=call_id) as connection:
        await _until(connection, "session.created")
        saying = asyncio.create_task(
            emulator.say(call_id, "What is the status of my claim one two three four?")
        )
        turn = await _until(connection, "response.done")
        await saying
        call = turn[-1].response.output[-1]
        assert (call.type, call.name, call.arguments) == ("function_call", "get_claim", '{"number": "1234"}')
        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": '{"status": "paid"}'}
        )
        await connection.response.create()
        answer = await _until(connection, "response.done")
        assert answer[-1].response.output[0].content[0].transcript == "Claim 1 2 3 4 is paid."
        usage = answer[-1].response.usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        completed = next(e for e in turn if e.type.endswith("transcription.completed"))
        assert completed.transcript == "What is the status of my claim one two three four?"


async def test_a_plain_websocket_session(emulator: RunningEmulator) -> None:
    async with emulator.client.realtime.connect(model="voice-deployment") as connection:
        greeting = (await _until(connection, "session.created"))[0]
        await connection.session.update(session=SESSION)  # type: ignore[arg-type]
        await _until(connection, "session.updated")
        await connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "What is the status of my claim?"}],
            }
        )
        await connection.response.create()
        told = await _until(connection, "response.done")
        audio = b"".join(base64.b64decode(e.delta) for e in told if e.type == "response.output_audio.delta")
        seconds = len(audio) / 48_000
        assert 1.0 < seconds < 3.0, "the silent voice takes as long as the words would"
        assert not [event for event in told if event.type.startswith("output_audio_buffer")]
        await emulator.say(greeting.session.id, "one two three four")  # type: ignore[union-attr]
        heard = await _until(connection, "response.done")
        assert "input_audio_buffer.speech_started" in {event.type for event in heard}
        item = next(
            e.item for e in told if e.type == "conversation.item.added" and e.item.role == "assistant"
        )
        await connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=300)
        await _until(connection, "conversation.item.truncated")
        await connection.conversation.item.retrieve(item_id=item.id)
        retrieved = (await _until(connection, "conversation.item.retrieved"))[-1]
        assert retrieved.item.content[0].transcript != "What is your claim number?"


async def test_a_caller_interrupts_an_active_response(emulator: RunningEmulator) -> None:
    async with running_emulator(FAST, speech_factor=4.0, generation_speed=1.0) as slow:
        call_id = await slow.start_call()
        async with slow.client.realtime.connect(call_id=call_id) as connection:
            saying = asyncio.create_task(slow.say(call_id, "Tell me a story."))
            await _until(connection, "output_audio_buffer.started")
            await saying
            saying = asyncio.create_task(slow.say(call_id, "Stop."))
            done = (await _until(connection, "response.done"))[-1].response
            assert (done.status, done.status_details.reason) == ("cancelled", "turn_detected")
            await _until(connection, "output_audio_buffer.cleared")
            await _until(connection, "conversation.item.truncated")
            await saying
            await _until(connection, "output_audio_buffer.stopped")


async def test_credentials(emulator: RunningEmulator) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        await emulator.openai("wrong").realtime.client_secrets.create(session=SESSION)  # type: ignore[arg-type]
    assert refused.value.code == "401"
    with pytest.raises(websockets.InvalidStatus) as no_socket:
        async with emulator.openai("wrong").realtime.connect(model="m"):
            pass
    assert no_socket.value.response.status_code == 401
    body = {"session": SESSION}
    for headers, status in (
        ({"api-key": "test-key"}, 200),
        ({"Authorization": "Bearer test-key"}, 200),
        ({"Authorization": "Bearer aaa.bbb.ccc"}, 401),
        ({"api-key": "test-keys"}, 401),
        ({}, 401),
    ):
        for base in ("/openai/v1", "/v1"):
            async with emulator.http.post(
                f"{emulator.url}{base}/realtime/client_secrets", json=body, headers=headers
            ) as answer:
                assert answer.status == status, headers
    async with emulator.http.post(
        f"{emulator.url}/openai/v1/realtime/client_secrets?api-version=2025-04-01-preview",
        json=body,
        headers={"api-key": "test-key"},
    ) as answer:
        assert answer.status == 401
        assert (await answer.json())["error"]["param"] == "api-version"
    async with running_emulator(FAST, accept_any_jwt=True) as lenient:
        await lenient.openai("aaa.bbb.ccc").realtime.client_secrets.create(session=SESSION)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"session": {"type": "realtime"}}, "missing_required_parameter", "session.model"),
        ({"session": {"model": "m"}}, "missing_required_parameter", "session.type"),
        ({}, "missing_required_parameter", "session"),
        (
            {"session": SESSION, "expires_after": {"seconds": 9}},
            "integer_below_min_value",
            "expires_after.seconds",
        ),
        (
            {"session": SESSION, "expires_after": {"seconds": 7201}},
            "integer_above_max_value",
            "expires_after.seconds",
        ),
        ({"session": SESSION, "colour": 1}, "unknown_parameter", "body.colour"),
        ({"session": {**SESSION, "tools": "all"}}, "invalid_type", "session.tools"),
    ],
)
async def test_client_secrets_that_are_refused(
    emulator: RunningEmulator, body: dict[str, object], code: str, param: str
) -> None:
    async with emulator.http.post(
        f"{emulator.url}/openai/v1/realtime/client_secrets", json=body, headers={"api-key": "test-key"}
    ) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["code"], error["param"]) == (400, code, param)
    assert error["type"] == "invalid_request_error"


async def test_offers_that_are_refused(emulator: RunningEmulator) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await emulator.client.realtime.calls.create(sdp="not SDP", session=SESSION)  # type: ignore[arg-type]
    assert refused.value.code == "invalid_offer"
    url = f"{emulator.url}/openai/v1/realtime/calls"
    headers = {"api-key": "test-key"}
    async with emulator.http.post(
        url, data=b"\xff", headers={**headers, "Content-Type": "application/sdp"}
    ) as no_text:
        assert (no_text.status, (await no_text.json())["error"]["code"]) == (400, "invalid_offer")
    async with emulator.http.post(url, json={"sdp": MINIMAL_OFFER}, headers=headers) as json_body:
        assert (json_body.status, (await json_body.json())["error"]["code"]) == (
            400,
            "unsupported_content_type",
        )
    sdp = {**headers, "Content-Type": "application/sdp"}
    async with emulator.http.post(url, data=MINIMAL_OFFER, headers=sdp) as unbound:
        assert (await unbound.json())["error"]["param"] == "session.model"
    async with emulator.http.post(url, data=b"x" * 3_000_000, headers=sdp) as large:
        assert large.status == 413
        assert "error" in await large.json()
    assert (await emulator.emu("GET", "calls"))["calls"] == []


async def test_a_real_offer_that_aiortc_refuses_gets_the_same_error() -> None:
    async with running_emulator(FAST, media=True) as emulator:
        with pytest.raises(openai.BadRequestError) as refused:
            await emulator.start_call()
        assert refused.value.code == "invalid_offer"


async def test_frames_that_are_too_big_close_the_socket(emulator: RunningEmulator) -> None:
    async with emulator.client.realtime.connect(model="m") as connection:
        await _until(connection, "session.created")
        with pytest.raises(websockets.ConnectionClosedError) as closed:  # noqa: PT012 (either may notice)
            await connection.send_raw(b"x" * (22 * 1024 * 1024))
            await _until(connection, "error")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_transcription_sessions_answer_nothing(emulator: RunningEmulator) -> None:
    session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
    secret = await emulator.client.realtime.client_secrets.create(session=session)  # type: ignore[arg-type]
    assert secret.session.type == "transcription"


async def test_a_session_expires() -> None:
    async with (
        running_emulator(FAST, session_minutes=0.005) as emulator,
        emulator.client.realtime.connect(model="m") as connection,
    ):
        seen = await _until(connection, "error")
        assert seen[-1].error.code == "session_expired"
        assert [event.type async for event in connection] == []


async def test_sidebands_are_greeted_and_get_audio_as_configured() -> None:
    async with running_emulator(FAST, greet_sidebands=False, sideband_audio=True) as emulator:
        call_id = await emulator.start_call()
        async with emulator.client.realtime.connect(call_id=call_id) as connection:
            await connection.session.update(session=SESSION)  # type: ignore[arg-type]
            assert [event.type for event in await _until(connection, "session.updated")] == [
                "session.updated"
            ]
            await connection.response.create()
            told = await _until(connection, "response.done")
            assert "response.output_audio.delta" in {event.type for event in told}


async def test_the_state_of_calls_is_shown(emulator: RunningEmulator) -> None:
    call_id = await emulator.start_call()
    health = await emulator.emu("GET", "health")
    assert health == {"status": "ok", "live": 1, "known": 1}
    await emulator.emu("POST", f"calls/{call_id}/hang-up")
    shown = await emulator.emu("GET", f"calls/{call_id}")
    assert (shown["state"], shown["end_reason"]) == ("ended", "caller_hung_up")
    async with emulator.http.post(f"{emulator.url}/_emu/calls/{call_id}/say", json={"text": "x"}) as late:
        assert (late.status, (await late.json())["error"]["code"]) == (409, "call_not_live")
    await eventually(lambda: len(emulator.server.service.calls.find(call_id).session.audience.listeners) == 0)  # type: ignore[union-attr]
