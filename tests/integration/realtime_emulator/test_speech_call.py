"""Spoken WebRTC calls: real audio both ways, tools through a sideband meanwhile, interruption."""

from __future__ import annotations

import asyncio
import base64
import io
import wave
from collections.abc import AsyncIterator

import pytest

from emulators.caller.peer import WebRtcCaller
from emulators.realtime.g711 import FromPcm24k, ToPcm24k
from emulators.realtime.mind.normalise import normalise
from emulators.realtime.speech_set import warm_up
from emulators.speech.hearing import transcribe, transcribe_recording
from emulators.speech.speaking import CALLER_VOICE, synthesise_all
from tests.support.eventually import eventually
from tests.support.realtime_emulator import FAST, SESSION, RunningEmulator, running_emulator

# Real speech in real time: beside a hundred calls it would not be understood.


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
    caller.say(question)
    await eventually(
        lambda: _types(caller).count("output_audio_buffer.stopped") >= 2, within=20, what="both answers"
    )
    heard = normalise(await transcribe(caller.heard_since(), 24_000))
    assert calls == ['{"number": "1234"}']
    assert "moment" in heard, heard
    assert "claim 1234" in heard, heard
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
    interruption = await synthesise_all("Where is my claim?", voice=CALLER_VOICE)
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


async def test_a_websocket_session_hears_and_speaks_g711(emulator: RunningEmulator) -> None:
    question = await synthesise_all("What is the status of my claim?", voice=CALLER_VOICE)
    encoded = FromPcm24k("audio/pcmu").feed(question + bytes(48_000))
    pcmu = {"type": "audio/pcmu"}
    session = {**SESSION, "audio": {"input": {"format": pcmu}, "output": {"format": pcmu}}}
    async with emulator.client.realtime.connect(model="voice-deployment") as connection, asyncio.timeout(20):
        await connection.session.update(session=session)  # type: ignore[arg-type]
        for start in range(0, len(encoded), 1600):
            chunk = base64.b64encode(encoded[start : start + 1600]).decode()
            await connection.input_audio_buffer.append(audio=chunk)
        spoken = b""
        async for event in connection:
            if event.type == "response.output_audio.delta":
                spoken += base64.b64decode(event.delta)
            if event.type == "response.done":
                break
    heard = await transcribe(ToPcm24k("audio/pcmu").feed(spoken), 24_000)
    assert "claim number" in heard.lower(), heard


async def test_a_recording_is_heard_on_a_sip_call(emulator: RunningEmulator) -> None:
    call_id = str((await emulator.emu("POST", "incoming-sip", {}))["call_id"])
    session = {**SESSION, "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
    await emulator.client.realtime.calls.accept(call_id, **session)  # type: ignore[arg-type]
    recording = io.BytesIO()
    with wave.open(recording, "wb") as written:
        written.setparams((1, 2, 24_000, 0, "NONE", ""))
        written.writeframes(await synthesise_all("Where is my claim?", voice=CALLER_VOICE))
    url = f"{emulator.url}/_emu/calls/{call_id}/say"
    wav = {"Content-Type": "audio/wav"}
    async with emulator.http.post(url, data=recording.getvalue(), headers=wav) as answer:
        assert answer.status == 200, await answer.text()
    async with emulator.http.post(url, data=b"RIFF", headers=wav) as answer:
        assert answer.status == 400

    def transcripts() -> list[str]:
        log = emulator.server.service.calls.find(call_id).session.audience.log.after(0)  # type: ignore[union-attr]
        return [str(entry["event"]) for entry in log if "transcription.completed" in str(entry["event"])]

    (heard,) = await eventually(transcripts, what="the transcript")
    assert "claim" in heard.lower(), heard

    await emulator.emu("POST", f"calls/{call_id}/listen", {"until": "sound", "ms": 200})
    await emulator.emu("POST", f"calls/{call_id}/listen", {"until": "quiet", "ms": 500})
    await emulator.emu("POST", f"calls/{call_id}/hang-up")
    async with emulator.http.get(f"{emulator.url}/_emu/calls/{call_id}/heard.wav") as answer:
        assert answer.status == 200, await answer.text()
        with wave.open(io.BytesIO(await answer.read())) as kept:
            rate, pcm16 = kept.getframerate(), kept.readframes(kept.getnframes())
    assert rate == 8_000, "as on a telephone"
    said = await transcribe_recording(pcm16, rate)
    assert "claim number" in said.lower(), said
    async with emulator.http.post(
        f"{emulator.url}/_emu/calls/{call_id}/listen", json={"until": "sound"}
    ) as answer:
        assert answer.status == 408, "nobody is on the line"
