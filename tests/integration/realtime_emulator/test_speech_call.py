"""Spoken WebRTC calls: real audio both ways, tools through a sideband meanwhile, interruption."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from emulators.caller.peer import WebRtcCaller
from emulators.realtime.speech_set import warm_up
from emulators.speech.hearing import transcribe
from emulators.speech.speaking import CALLER_VOICE, synthesise_all
from tests.support.eventually import eventually
from tests.support.realtime_emulator import FAST, SESSION, RunningEmulator, running_emulator


@pytest.fixture
async def emulator() -> AsyncIterator[RunningEmulator]:
    await warm_up()
    async with running_emulator(FAST, speech=True, media=True, speech_factor=1.0) as running:
        yield running


async def _dial(emulator: RunningEmulator, *, filtered: bool = False) -> tuple[WebRtcCaller, str]:
    secret = await emulator.client.realtime.client_secrets.create(session=SESSION)  # type: ignore[arg-type]
    caller = WebRtcCaller()
    answer = await emulator.openai(secret.value).realtime.calls.with_raw_response.create(
        sdp=await caller.offer(), extra_query={"webrtcfilter": "on"} if filtered else None
    )
    await caller.accept(answer.text)
    await caller.wait_connected()
    return caller, answer.headers["location"].rsplit("/", 1)[1]


def _types(caller: WebRtcCaller) -> list[str]:
    return [received.type for received in caller.events_since(0)]


async def test_a_spoken_call_with_a_tool_through_the_sideband(emulator: RunningEmulator) -> None:
    question = await synthesise_all("What is the status of my claim one two three four?", voice=CALLER_VOICE)
    caller, call_id = await _dial(emulator)
    calls: list[str] = []

    async def sideband() -> None:
        async with emulator.client.realtime.connect(call_id=call_id) as connection:
            await connection.response.create()
            async for event in connection:
                if event.type == "response.function_call_arguments.done":
                    calls.append(event.arguments)
                    await connection.conversation.item.create(
                        item={
                            "type": "function_call_output",
                            "call_id": event.call_id,
                            "output": '{"status": "paid"}',
                        }
                    )
                elif (
                    event.type == "response.done"
                    and event.response.output
                    and (event.response.output[-1].type == "function_call")
                ):
                    await connection.response.create()

    worker = asyncio.create_task(sideband())
    await eventually(lambda: _types(caller).count("output_audio_buffer.stopped") == 1, what="the greeting")
    mark = caller.heard_position
    caller.say(question)
    await eventually(
        lambda: _types(caller).count("output_audio_buffer.stopped") >= 3, within=20, what="both answers"
    )
    heard = (await transcribe(caller.heard_since(mark), 24_000)).lower()
    assert calls == ['{"number": "1234"}']
    assert "moment" in heard, heard
    assert "paid" in heard, heard
    spoken = next(
        received.event
        for received in caller.events_since(0)
        if received.type == "conversation.item.input_audio_transcription.completed"
    )
    assert "claim" in str(spoken["transcript"]).lower()
    await emulator.client.realtime.calls.hangup(call_id)
    await asyncio.wait_for(worker, 5)
    await asyncio.wait_for(caller.ended.wait(), 5)
    await caller.hang_up()


async def test_the_caller_interrupts(emulator: RunningEmulator) -> None:
    ask = await synthesise_all("Tell me a story.", voice=CALLER_VOICE)
    interruption = await synthesise_all("Stop. What is the status of my claim?", voice=CALLER_VOICE)
    caller, call_id = await _dial(emulator, filtered=True)
    caller.say(ask)
    await eventually(lambda: "output_audio_buffer.started" in _types(caller), what="the story begins")
    began = asyncio.get_running_loop().time()
    await eventually(
        lambda: (
            caller.last_heard_voice_at is not None
            and asyncio.get_running_loop().time() - began > 1.0
            and caller.last_heard_voice_at > began + 0.5
        )
    )
    caller.say(interruption)
    await eventually(
        lambda: _types(caller).count("output_audio_buffer.stopped") == 1, within=20, what="the answer"
    )
    log = await emulator.emu("GET", f"calls/{call_id}/events")
    outgoing = [entry["event"] for entry in log["events"] if entry["direction"] == "out"]  # type: ignore[union-attr,index]
    kinds = [event["type"] for event in outgoing]
    cleared = kinds.index("output_audio_buffer.cleared")
    assert kinds[cleared - 1] == "response.done" or "response.done" in kinds[:cleared]
    truncated = next(event for event in outgoing if event["type"] == "conversation.item.truncated")
    assert 500 < truncated["audio_end_ms"] < 6000
    assert "output_audio_buffer.cleared" not in _types(caller), "the filter keeps it from the browser"
    assert "session.created" not in _types(caller)
    transcripts = [e["transcript"] for e in outgoing if e["type"] == "response.output_audio_transcript.done"]
    assert transcripts[-1] == "What is your claim number?"
    await caller.hang_up()
    await eventually(lambda: emulator.server.service.calls.find(call_id).state == "ended", what="the end")
