"""Faults on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import websockets
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.support.realtime_emulator import MINIMAL_OFFER, SESSION, RunningEmulator, running_emulator


@pytest.fixture
async def emulator() -> AsyncIterator[RunningEmulator]:
    async with running_emulator() as running:
        yield running


async def _answered(
    emulator: RunningEmulator, until: str = "rate_limits.updated", **fault: object
) -> list[Any]:
    """Plan a fault for the next call, ask it for a response, return the events of a sideband."""
    await emulator.fault(**fault)
    call_id = await emulator.start_call()
    async with emulator.client.realtime.connect(call_id=call_id) as connection:
        await connection.response.create()
        return await _collect(connection, until)


async def _collect(connection: AsyncRealtimeConnection, until: str) -> list[Any]:
    seen: list[Any] = []
    async with asyncio.timeout(10):
        async for event in connection:
            seen.append(event)
            if event.type == until:
                break
    return seen


@pytest.mark.parametrize("code", [1006, 1008, 1011])
async def test_the_socket_closes_in_mid_response_and_the_call_lives_on(
    emulator: RunningEmulator, code: int
) -> None:
    await emulator.fault(kind="close", event="response.output_audio_transcript.delta", skip=1, code=str(code))
    call_id = await emulator.start_call()
    async with emulator.client.realtime.connect(call_id=call_id) as connection:
        await connection.response.create()
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await _collect(connection, "response.done")
    assert (closed.value.rcvd.code if closed.value.rcvd else 1006) == code
    async with emulator.client.realtime.connect(call_id=call_id) as connection:
        assert [event.type for event in await _collect(connection, "session.created")] == ["session.created"]


async def test_events_are_duplicated_dropped_and_unknown(emulator: RunningEmulator) -> None:
    twice = await _answered(emulator, kind="duplicate", event="response.done")
    done = [event.event_id for event in twice if event.type == "response.done"]
    assert len(done) == 2
    assert len(set(done)) == 1
    fewer = await _answered(emulator, kind="drop", event="response.*", times=3)
    assert fewer[1].type == "conversation.item.added"
    strange = await _answered(
        emulator, kind="unknown_event", event="response.created", type="response.telepathy"
    )
    assert strange[2].type == "response.telepathy"


async def test_events_are_delayed_in_order(emulator: RunningEmulator) -> None:
    began = asyncio.get_running_loop().time()
    late = await _answered(emulator, kind="delay", event="response.created", ms=300)
    assert asyncio.get_running_loop().time() - began >= 0.3
    assert [event.type for event in late][:3] == [
        "session.created",
        "response.created",
        "response.output_item.added",
    ]


async def test_a_response_fails(emulator: RunningEmulator) -> None:
    told = await _answered(emulator, kind="response_failed")
    done = next(event.response for event in told if event.type == "response.done")
    assert (done.status, done.status_details.error.code) == ("failed", "rate_limit_exceeded")


async def test_transcription_fails_or_comes_late_and_the_model_hears_all_the_same(
    emulator: RunningEmulator,
) -> None:
    for fault in ({"kind": "transcription_failed"}, {"kind": "transcription_late", "ms": 400}):
        await emulator.fault(**fault)
        call_id = await emulator.start_call()
        async with emulator.client.realtime.connect(call_id=call_id) as connection:
            saying = asyncio.create_task(emulator.say(call_id, "What is the status of my claim?"))
            told = [event.type for event in await _collect(connection, "output_audio_buffer.stopped")]
            await saying
            if fault["kind"] == "transcription_failed":
                assert "conversation.item.input_audio_transcription.failed" in told
            else:
                assert "conversation.item.input_audio_transcription.completed" not in told
                await _collect(connection, "conversation.item.input_audio_transcription.completed")
            answer = await emulator.emu("GET", f"calls/{call_id}/events")
        assert "What is your claim number?" in str(answer)


async def test_a_call_can_be_attached_to_only_later(emulator: RunningEmulator) -> None:
    await emulator.fault(kind="late_404", ms=250)
    call_id = await emulator.start_call()
    with pytest.raises(websockets.InvalidStatus) as early:
        async with emulator.client.realtime.connect(call_id=call_id):
            pass
    assert early.value.response.status_code == 404
    deadline = asyncio.get_running_loop().time() + 5
    while True:
        try:
            async with emulator.client.realtime.connect(call_id=call_id) as connection:
                await _collect(connection, "session.created")
                break
        except websockets.InvalidStatus:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)


async def test_a_session_expires_on_request(emulator: RunningEmulator) -> None:
    await emulator.fault(kind="expire", ms=100)
    call_id = await emulator.start_call()
    async with emulator.client.realtime.connect(call_id=call_id) as connection:
        seen = await _collect(connection, "never")
    assert seen[-1].error.code == "session_expired"


async def test_rest_calls_fail_on_request(emulator: RunningEmulator) -> None:
    async def mint() -> None:
        await emulator.client.realtime.client_secrets.create(session=SESSION)  # type: ignore[arg-type]

    await emulator.fault(kind="http", route="client_secrets", status=429, retry_after=7)
    with pytest.raises(openai.RateLimitError) as limited:
        await mint()
    assert limited.value.response.headers["retry-after"] == "7"
    await emulator.fault(kind="http", route="client_secrets")
    with pytest.raises(openai.InternalServerError):
        await mint()
    await mint()
    await emulator.fault(kind="http", route="calls", status=401)
    with pytest.raises(openai.AuthenticationError):
        await emulator.client.realtime.calls.create(sdp=MINIMAL_OFFER, session=SESSION)  # type: ignore[arg-type]
    await emulator.fault(kind="http", route="sideband", status=503)
    call_id = await emulator.start_call()
    with pytest.raises(websockets.InvalidStatus):
        async with emulator.client.realtime.connect(call_id=call_id):
            pass


async def test_faults_for_all_calls_and_for_one(emulator: RunningEmulator) -> None:
    await emulator.fault(kind="response_failed", target="all")
    for _ in range(2):
        call_id = await emulator.start_call()
        async with emulator.client.realtime.connect(call_id=call_id) as connection:
            await connection.response.create()
            told = await _collect(connection, "response.done")
            assert told[-1].response.status == "failed"
            await emulator.fault(kind="response_failed", target=call_id, code="quota", message="None left.")
            await connection.response.create()
            told = await _collect(connection, "response.done")
            assert told[-1].response.status_details.error.message == "None left."
    await emulator.emu("DELETE", "faults")
    assert (await _answered(emulator, kind="drop", event="nothing"))[-2].response.status == "completed"


async def test_a_fault_that_is_none_is_refused(emulator: RunningEmulator) -> None:
    for body in (
        {"kind": "earthquake"},
        {"kind": "delay", "ms": "long"},
        {"kind": "close", "sometimes": True},
    ):
        async with emulator.http.post(f"{emulator.url}/_emu/faults", json=body) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["param"].startswith("fault.")


async def test_the_conversation_is_shown_as_the_model_has_it_also_after_the_call(
    emulator: RunningEmulator,
) -> None:
    call_id = await emulator.start_call()
    async with emulator.client.realtime.connect(call_id=call_id) as connection:
        await emulator.say(call_id, "What is the status of my claim 1234?")
        await _collect(connection, "response.done")
    await emulator.emu("POST", f"calls/{call_id}/hang-up")
    items: Any = (await emulator.emu("GET", f"calls/{call_id}/items"))["items"]
    assert [item["type"] for item in items] == ["message", "message", "function_call"]
    assert [item.get("role") for item in items] == ["user", "assistant", None]
    assert items[2]["arguments"] == '{"number": "1234"}'
