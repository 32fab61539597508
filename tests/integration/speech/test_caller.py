"""The synthetic caller over real WebRTC on loopback, against a small agent that really hears and speaks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from emulators.caller.peer import CallError, WebRtcCaller
from emulators.caller.recordings import write_recording
from emulators.caller.script import Turn, TurnReport, prepared, run_script
from emulators.caller.session_client import SessionClient, SessionClientError
from emulators.speech import hearing
from emulators.speech.resampling import resample
from emulators.speech.speaking import synthesise_all
from emulators.speech.transcripts import word_error_rate
from tests.integration.speech.answerer import CLIENT_TOKEN, FUNCTION_KEY, Answerer, public_api
from tests.support.eventually import eventually
from tests.support.ports import free_port

# Real speech in real time: beside a hundred calls it would not be understood.


@contextlib.asynccontextmanager
async def call_to(answerer: Answerer) -> AsyncIterator[WebRtcCaller]:
    caller = WebRtcCaller()
    try:
        await caller.accept(await answerer.answer(await caller.offer()))
        await caller.wait_connected()
        yield caller
    finally:
        await caller.hang_up()
        await answerer.close()


@contextlib.asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def test_a_scripted_call_is_heard_on_both_sides(tmp_path: Path) -> None:
    """Text and a stereo WAV of another rate, an agent that greets, answers, and answers twice."""
    question = await synthesise_all("Please book an appointment.", 24_000)
    write_recording(tmp_path / "question.wav", resample(question, 24_000, 44_100), 44_100)
    answerer = Answerer(
        ["It was paid today.", "One moment.|Your appointment is on Friday morning."], greeting="Good day."
    )
    live: list[TurnReport] = []
    turns = await prepared(
        [
            Turn(text="Was my claim paid?", settle_s=0.3),
            Turn(audio=tmp_path / "question.wav", answers=2, settle_s=0.3),
        ]
    )
    async with call_to(answerer) as caller:
        report = await run_script(caller, turns, greeting_timeout_s=5, on_turn=live.append)
    assert report.ended_by == "caller"
    assert word_error_rate("good day", report.greeting) <= 0.5, report
    first, second = report.turns
    assert live == [first, second]
    assert word_error_rate(first.said, answerer.heard[0]) <= 0.25, answerer.heard
    assert word_error_rate("It was paid today", first.heard) <= 0.3, report
    assert word_error_rate("Please book an appointment", second.said) <= 0.3, report
    assert word_error_rate("One moment. Your appointment is on Friday morning.", second.heard) <= 0.3, report
    for turn in report.turns:
        assert turn.finished, turn
        # At least the 500 ms of silence that the agent waits for, and not seconds.
        assert turn.response_ms is not None
        assert 400 < turn.response_ms < 4_000, turn


async def test_barging_in_silences_the_agent() -> None:
    answerer = Answerer(["This is a very long story about a claim. " * 6, "Sure."], tells=False)
    async with call_to(answerer) as caller:
        report = await run_script(
            caller,
            [
                Turn(text="Tell me a story about my claim."),
                Turn(text="Please stop talking now.", barge_in_after_s=1.0, settle_s=0.3),
            ],
        )
    interrupted, interrupting = report.turns
    assert not interrupted.finished
    assert "story" in interrupted.heard.lower(), report
    assert len(interrupted.heard.split()) < 20, report
    assert interrupting.agent_fell_silent_ms is not None
    assert interrupting.agent_fell_silent_ms < 1_500, report
    assert word_error_rate("sure", interrupting.heard) < 1, report
    assert interrupting.finished


async def test_a_silent_agent_is_reported_and_an_agent_may_hang_up() -> None:
    answerer = Answerer([], ends=True)
    async with call_to(answerer) as caller:
        report = await run_script(
            caller,
            [Turn(text="Goodbye.", answer_timeout_s=10), Turn(text="Are you there?")],
        )
    assert report.ended_by == "agent"
    assert [(turn.number, turn.response_ms, turn.heard) for turn in report.turns] == [(1, None, "")]


async def test_events_go_both_ways_and_every_consumer_gets_all() -> None:
    answerer = Answerer([])
    async with call_to(answerer) as caller:
        caller.send_event({"type": "response.create"})
        await eventually(lambda: answerer.client_events == [{"type": "response.create"}], within=5)
        answerer.tell({"type": "response.output_text.delta", "delta": "a"})

        async def first_two() -> list[object]:
            seen: list[object] = []
            async with contextlib.aclosing(caller.events()) as events:
                async for event in events:
                    seen.append(event["type"])
                    if len(seen) == 2:
                        break
            return seen

        async with asyncio.timeout(5):
            consumers = await asyncio.gather(first_two(), first_two())
        rest = asyncio.create_task(_count(caller))
        await caller.hang_up()
        assert await rest >= 2, "an iteration must end with the call, after all its events"
    assert consumers == [["session.created", "response.output_text.delta"]] * 2


async def _count(caller: WebRtcCaller) -> int:
    return len([event async for event in caller.events()])


async def test_audio_reaches_both_ends_and_is_silence_between_utterances() -> None:
    answerer = Answerer(["Fine."])
    async with call_to(answerer) as caller:
        await eventually(lambda: caller.heard_position > 24_000, within=5, what="half a second of silence")
        assert caller.remote_audio_rms < 0.01
        assert caller.last_heard_voice_at is None
        caller.say(await synthesise_all("How are you?"))
        await caller.said_all()
        await eventually(lambda: caller.remote_speaking, within=8, what="the agent's voice")
        await eventually(lambda: not caller.remote_speaking, within=8, what="the end of the agent's voice")
        assert caller.last_spoke_at is not None
        assert caller.voice_onsets_since(caller.last_spoke_at)
        heard = await hearing.transcribe_recording(caller.heard_since(), 24_000)
        assert word_error_rate("fine", heard) <= 1.0, heard
        assert heard


async def test_hanging_up_is_idempotent_at_any_stage_and_leaves_nothing() -> None:
    threads_before = {thread for thread in threading.enumerate() if "decoder" in thread.name}
    never_placed = WebRtcCaller()
    await never_placed.hang_up()
    only_offered = WebRtcCaller()
    await only_offered.offer()
    await asyncio.gather(only_offered.hang_up(), only_offered.hang_up())
    answerer = Answerer([])
    async with call_to(answerer) as caller:
        caller.say(bytes(24_000 * 2 * 60))
        await asyncio.gather(caller.hang_up(), caller.said_all())
        await caller.hang_up()
        assert caller.ended.is_set()
        with pytest.raises(CallError, match="not open"):
            caller.send_event({"type": "response.create"})
        with pytest.raises(CallError, match="one call"):
            await caller.offer()
    decoders = {thread for thread in threading.enumerate() if "decoder" in thread.name}
    assert decoders <= threads_before


async def test_an_answer_that_is_not_sdp_and_a_peer_that_never_comes() -> None:
    caller, other = WebRtcCaller(), WebRtcCaller()
    try:
        offer = await caller.offer()
        for answer in (
            "",
            "not SDP",
            "v=0\r\n",
            '{"error": {"code": "x"}}',
            offer.replace("m=audio", "m=image"),
        ):
            with pytest.raises(CallError) as refused:
                await caller.accept(answer)
            assert refused.value.code == "sdp_answer_unusable", answer
        with pytest.raises(CallError, match="no WebRTC connection within"):
            await caller.wait_connected(timeout_s=0.05)
        with pytest.raises(CallError, match="offer first"):
            await other.accept(offer)
    finally:
        await caller.hang_up()
        await other.hang_up()


async def test_a_call_starts_with_a_token() -> None:
    answerer, caller = Answerer([]), WebRtcCaller()
    async with served(public_api(answerer)) as url, SessionClient(url + "/", FUNCTION_KEY) as client:
        try:
            started = await client.start(caller, "member-services", "token")
            await caller.wait_connected()
            async with aiohttp.ClientSession() as http, http.get(f"{url}/reported") as response:
                assert await response.json() == {"ses_1": "rtc_7"}
        finally:
            await caller.hang_up()
            await answerer.close()
    assert (started.session_id, started.call_id, started.client_token) == ("ses_1", "rtc_7", CLIENT_TOKEN)
    assert CLIENT_TOKEN not in repr(started)


async def test_a_call_starts_by_relay() -> None:
    answerer, caller = Answerer([]), WebRtcCaller()
    async with served(public_api(answerer)) as url, SessionClient(url, FUNCTION_KEY) as client:
        try:
            started = await client.start(caller, "member-services", "relay")
            await caller.wait_connected()
        finally:
            await caller.hang_up()
            await answerer.close()
    assert (started.session_id, started.call_id, started.client_token) == ("ses_2", None, CLIENT_TOKEN)


async def test_a_refusal_shows_status_and_problem() -> None:
    answerer, caller = Answerer([]), WebRtcCaller()
    try:
        async with served(public_api(answerer)) as url:
            async with SessionClient(url, "wrong") as client:
                with pytest.raises(
                    SessionClientError, match=r"answered 401: .*the function key is wrong"
                ) as refused:
                    await client.start(caller, "member-services")
            assert (refused.value.status, refused.value.problem["code"]) == (401, "key_invalid")
            async with SessionClient(url, FUNCTION_KEY) as client:
                with pytest.raises(SessionClientError, match="there is no agent nobody"):
                    await client.start(caller, "nobody")
            async with SessionClient(f"{url}/elsewhere", FUNCTION_KEY) as client:
                with pytest.raises(SessionClientError, match="answered 404"):
                    await client.start(caller, "member-services")
        async with SessionClient(url, FUNCTION_KEY) as client:
            with pytest.raises(SessionClientError, match="check that it is running") as unreachable:
                await client.start(caller, "member-services")
        assert unreachable.value.status is None
    finally:
        await caller.hang_up()
        await answerer.close()
    with pytest.raises(ValueError, match="http://"):
        SessionClient("localhost:7071", FUNCTION_KEY)
