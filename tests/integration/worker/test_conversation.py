"""A worker process talks: turns, tools, ends, in the session's log."""

from __future__ import annotations

import json

import pytest

from shared.session.commands import EndCall, Say
from shared.session.jobs import LifecycleEvent
from shared.session.log import (
    AgentTurn,
    CommandReceived,
    ToolCalled,
    ToolFinished,
    ToolProgressed,
    ToolStatus,
    UserTurn,
)
from shared.session.model import EndReason, SessionState
from tests.integration.worker.stage import Stage
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_greets_hears_calls_a_tool_and_answers(stage: Stage) -> None:
    session_id, call_id = await stage.talk()
    await stage.wait_entry(session_id, AgentTurn, lambda turn: turn.text == "Hello, this is the test desk.")
    await stage.say(call_id, "look up 7")
    answer = await stage.wait_entry(session_id, AgentTurn, lambda turn: "49" in turn.text)
    (heard,) = await stage.entries(session_id, UserTurn)
    (called,) = await stage.entries(session_id, ToolCalled)
    (finished,) = await stage.entries(session_id, ToolFinished)
    assert heard.text == "look up 7"
    assert json.loads(called.arguments) == {"number": "7"}
    assert (finished.status, json.loads(finished.output)) == (ToolStatus.OK, {"number": 7, "square": 49})
    assert answer.first_audio_ms >= 0
    session = await stage.sessions.get(session_id)
    assert session.usage.responses >= 3
    assert session.usage.input_tokens > session.usage.cached_tokens > 0


async def test_a_tool_tells_its_progress_and_is_cancelled_when_the_caller_speaks(stage: Stage) -> None:
    session_id, call_id = await stage.talk()
    await stage.say(call_id, "ponder")
    await stage.wait_entry(session_id, AgentTurn, lambda turn: turn.text == "I have begun to think.")
    await stage.say(call_id, "look up 7")
    cancelled = await stage.wait_entry(session_id, ToolFinished)
    assert (cancelled.name, cancelled.status) == ("ponder", ToolStatus.CANCELLED)
    assert [entry.text for entry in await stage.entries(session_id, ToolProgressed)] == [
        "I have begun to think."
    ]
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "49" in turn.text)
    await eventually(
        lambda: f"{session_id}.{cancelled.tool_call_id} stopped" in stage.ledger.read_text(),
        what="the tool itself was stopped",
    )


async def test_parallel_calls_are_answered_in_one_response(stage: Stage) -> None:
    session_id, call_id = await stage.talk()
    await stage.say(call_id, "both")
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "4}" in turn.text and "9}" in turn.text)


@pytest.mark.parametrize(
    ("words", "status", "code", "told"),
    [
        ("bad arguments", ToolStatus.INVALID, "invalid_arguments", "number"),
        ("refuse", ToolStatus.ERROR, "tool_failed", "did not work"),
        ("hang", ToolStatus.TIMEOUT, "tool_timeout", "0.3 seconds"),
        ("huge", ToolStatus.ERROR, "result_too_large", "1000002"),
    ],
)
async def test_a_misbehaving_tool_is_told_to_the_model_and_the_call_goes_on(
    stage: Stage, words: str, status: ToolStatus, code: str, told: str
) -> None:
    session_id, call_id = await stage.talk()
    await stage.say(call_id, words)
    finished = await stage.wait_entry(session_id, ToolFinished)
    error = json.loads(finished.output)["error"]
    assert (finished.status, error["code"]) == (status, code)
    assert told in error["message"]
    assert "secret" not in finished.output
    await stage.wait_entry(session_id, AgentTurn, lambda turn: code in turn.text)
    await stage.say(call_id, "look up 2")
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "'square': 4" in turn.text)
    assert stage.worker is not None
    assert "the secret inside of the tool" not in stage.worker.log.read_text()


async def test_a_command_is_spoken_and_an_end_says_goodbye_first(stage: Stage) -> None:
    session_id, call_id = await stage.talk()
    await stage.wait_entry(session_id, AgentTurn)
    await stage.command(session_id, Say(text="A colleague is joining."))
    await stage.wait_entry(session_id, AgentTurn, lambda turn: turn.text == "A colleague is joining.")
    await stage.command(session_id, EndCall(reason=EndReason.OPERATOR_ENDED, goodbye="Goodbye for now."))
    session = await stage.wait_state(session_id, SessionState.ENDED)
    assert session.end_reason == EndReason.OPERATOR_ENDED
    turns = await stage.entries(session_id, AgentTurn)
    assert turns[-1].text == "Goodbye for now."
    assert [entry.command for entry in await stage.entries(session_id, CommandReceived)] == [
        "say",
        "end_call",
    ]

    async def call_is_over() -> bool:
        return not await stage.provider.hang_up(call_id)

    await eventually(call_is_over, what="the provider has let go of the call")


async def test_a_hang_up_by_the_caller_ends_the_session(stage: Stage) -> None:
    session_id, call_id = await stage.talk()
    await stage.emulate(f"/_emu/calls/{call_id}/hang-up", {})
    session = await stage.wait_state(session_id, SessionState.ENDED)
    assert session.end_reason == EndReason.CALLER_HUNG_UP


async def test_the_control_plane_hears_of_the_attachment_and_the_end(stage: Stage) -> None:
    stage.control_plane.refusals = [("lifecycle", 503), ("lifecycle", 500)]
    session_id, call_id = await stage.talk()
    await stage.emulate(f"/_emu/calls/{call_id}/hang-up", {})

    def told() -> list[str]:
        taken = [m for m in stage.control_plane.taken if isinstance(m, LifecycleEvent)]
        return sorted(m.event for m in taken if m.session_id == session_id)

    await eventually(lambda: told() == ["attached", "ended"], what="both lifecycle events")
    assert all(header.startswith("Bearer ey") for header in stage.control_plane.authorizations)


async def test_a_silent_call_ends_with_a_farewell(stage: Stage) -> None:
    session_id, _ = await stage.place_call(agent_name="quiet")
    session = await stage.wait_state(session_id, SessionState.ENDED)
    assert session.end_reason == EndReason.IDLE
    assert (await stage.entries(session_id, AgentTurn))[-1].text == "Nobody seems to be there. Goodbye."
