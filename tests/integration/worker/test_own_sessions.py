"""Sessions whose audio the worker carries: they outlive their provider sessions."""

from __future__ import annotations

import pytest

from shared.session.commands import EndCall, Say, ToolResult
from shared.session.jobs import StartDurableTool
from shared.session.log import (
    AgentTurn,
    ErrorRecorded,
    ToolCalled,
    ToolFinished,
    ToolStatus,
    UserTurn,
)
from shared.session.model import EndReason, SessionState
from tests.integration.worker.own_sessions import talk
from tests.integration.worker.stage import Stage
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_conversation_with_tools_and_commands(stage: Stage) -> None:
    call = await talk(stage)
    await call.say("look up 7")
    await call.answered("49")
    await stage.command(call.session_id, Say(text="One more thing."))
    await call.answered("One more thing.")
    await stage.command(call.session_id, EndCall(reason=EndReason.OPERATOR_ENDED))
    session = await stage.wait_state(call.session_id, SessionState.ENDED)
    assert (session.end_reason, session.call_id) == (EndReason.OPERATOR_ENDED, "")
    (provider_session,) = await call.provider_sessions()
    assert provider_session.startswith("sess_")

    async def closed() -> bool:
        return (await call.ask(f"/_emu/calls/{provider_session}"))["state"] == "ended"

    await eventually(closed, what="the provider's session has ended")


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011])
async def test_a_provider_session_that_closes_in_mid_response_is_followed_by_a_seeded_one(
    stage: Stage, code: int
) -> None:
    call = await talk(stage)
    await call.say("my name is Ann")
    await call.answered("Ann")
    first = await call.attached(1)
    await stage.fault(
        target=first, kind="close", event="response.output_audio_transcript.delta", code=str(code)
    )
    await call.say("look up 5")
    second = await call.attached(2)
    await call.answered("25")
    items = await call.items(second)
    assert items[:3] == [
        ("assistant", "Hello, this is the test desk."),
        ("user", "my name is Ann"),
        ("assistant", "You said my name is Ann."),
    ]
    assert [kind for kind, _ in items].count("call") == 1
    assert [kind for kind, _ in items].count("output") == 1
    greetings = [t for t in await stage.entries(call.session_id, AgentTurn) if t.text.startswith("Hello")]
    assert len(greetings) == 1
    assert (await stage.sessions.get(call.session_id)).state is SessionState.ACTIVE
    assert await stage.entries(call.session_id, ErrorRecorded) == []


async def test_words_that_the_lost_session_took_along_are_asked_for_again(stage: Stage) -> None:
    call = await talk(stage)
    first = await call.attached(1)
    await stage.fault(target=first, kind="close", event="conversation.item.done", code="1006")
    await call.say("nobody has heard this")
    second = await call.attached(2)
    await call.answered("could not be transcribed")  # the desk repeats what it heard
    (turn,) = await stage.entries(call.session_id, UserTurn)
    assert (turn.text, turn.status.value) == ("", "failed")
    assert (await call.items(second))[0] == ("assistant", "Hello, this is the test desk.")


async def test_an_expired_provider_session_is_followed_by_another(stage: Stage) -> None:
    await stage.fault(kind="expire", ms=1_500)
    call = await talk(stage)
    await call.say("remember the milk")
    await call.answered("milk")
    second = await call.attached(2)
    await call.told(second, ("user", "remember the milk"))
    await call.say("look up 6")
    await call.answered("36")
    (error,) = await stage.entries(call.session_id, ErrorRecorded)
    assert error.code == "session_expired"
    assert (await stage.sessions.get(call.session_id)).state is SessionState.ACTIVE


async def test_a_tool_that_runs_across_the_change_has_one_output_in_the_new_session(stage: Stage) -> None:
    call = await talk(stage)
    first = await call.attached(1)
    await call.say("charge")
    called = await stage.wait_entry(call.session_id, ToolCalled)
    await stage.fault(target=first, kind="close", event="input_audio_buffer.speech_started", code="1006")
    await call.say("hurry up")
    second = await call.attached(2)
    assert await stage.entries(call.session_id, ToolFinished) == []
    stage.ledger.with_suffix(".gate").touch()
    try:
        finished = await stage.wait_entry(call.session_id, ToolFinished)
        await call.answered("charge")
    finally:
        stage.ledger.with_suffix(".gate").unlink()
    assert finished.status is ToolStatus.OK
    calls = [one for one in await call.items(second) if one[0] in ("call", "output")]
    assert calls == [("call", called.tool_call_id), ("output", called.tool_call_id)]
    assert len(stage.ledger.read_text().splitlines()) == 1


async def test_a_durable_result_comes_to_the_session_that_is_in_use_by_then(stage: Stage) -> None:
    call = await talk(stage)
    first = await call.attached(1)
    await call.say("book a day")
    await call.answered("One moment.")

    def started() -> list[StartDurableTool]:
        return [m for m in stage.control_plane.taken if isinstance(m, StartDurableTool)]

    await eventually(started, what="the orchestration was asked for")
    (start,) = started()
    await stage.fault(target=first, kind="close", event="input_audio_buffer.speech_started", code="1011")
    await call.say("and?")
    second = await call.attached(2)
    result = ToolResult(
        tool_call_id=start.tool_call_id, status=ToolStatus.OK, output='{"booked":"friday"}', duration_ms=5
    )
    await stage.command(call.session_id, result)
    await call.answered("booked")
    calls = [one for one in await call.items(second) if one[0] in ("call", "output")]
    assert calls == [("call", start.tool_call_id), ("output", start.tool_call_id)]


async def test_a_provider_that_is_away_is_waited_for(stage: Stage) -> None:
    call = await talk(stage)
    first = await call.attached(1)
    await stage.fault(kind="http", route="websocket", status=503, times=3)
    await stage.fault(target=first, kind="close", event="input_audio_buffer.speech_started", code="1006")
    await call.say("hello?")
    await call.attached(2)
    await call.say("look up 9")
    await call.answered("81")
