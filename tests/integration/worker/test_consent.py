"""An agent that has to ask first, with a service that speaks: announcement, answer, recording, the end."""

from __future__ import annotations

import pytest

from shared.session.jobs import AdjustRecording
from shared.session.log import (
    AgentTurn,
    CallEvent,
    CallEventKind,
    ConsentNoted,
    ConsentStep,
    ToolFinished,
    ToolStatus,
)
from shared.session.model import EndReason, SessionState
from tests.integration.worker.stage import Stage
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
ANNOUNCEMENT = "This call is recorded. Is that all right?"


async def words(stage: Stage, session_id: str) -> list[str]:
    return [turn.text for turn in await stage.entries(session_id, AgentTurn)]


async def noted(stage: Stage, session_id: str, step: ConsentStep) -> None:
    await stage.wait_entry(session_id, ConsentNoted, lambda entry: entry.step is step)


def recordings(stage: Stage, session_id: str) -> int:
    taken = [m for m in stage.control_plane.taken if isinstance(m, AdjustRecording)]
    return sum(message.session_id == session_id for message in taken)


async def test_the_caller_agrees_and_the_conversation_begins(stage: Stage) -> None:
    session_id, call_id = await stage.place_call(agent_name="careful")
    await stage.say(call_id, "hello, is somebody there?")
    await noted(stage, session_id, ConsentStep.ANNOUNCED)
    assert (await words(stage, session_id))[0] == ANNOUNCEMENT
    assert recordings(stage, session_id) == 0
    await stage.say(call_id, "look up 3")
    refused = await stage.wait_entry(session_id, ToolFinished)
    assert refused.status is ToolStatus.ERROR
    assert "consent_missing" in refused.output
    await stage.say(call_id, "I agree")
    await noted(stage, session_id, ConsentStep.GIVEN)
    await stage.wait_entry(session_id, AgentTurn, lambda turn: turn.text.startswith("Hello, this is"))
    await eventually(lambda: recordings(stage, session_id) == 1, what="the call is to be recorded")
    asked = await stage.wait_entry(session_id, CallEvent)
    assert asked.event is CallEventKind.RECORDING_ASKED
    await stage.say(call_id, "look up 3")
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "9" in turn.text)
    await stage.say(call_id, "bye")
    session = await stage.wait_state(session_id, SessionState.ENDED)
    assert session.end_reason == EndReason.AGENT_ENDED
    assert (await words(stage, session_id))[-1] == "Goodbye then."
    assert (await words(stage, session_id)).count(ANNOUNCEMENT) == 1


async def test_the_caller_objects(stage: Stage) -> None:
    session_id, call_id = await stage.place_call(agent_name="careful")
    await noted(stage, session_id, ConsentStep.ANNOUNCED)
    await stage.say(call_id, "I object")
    session = await stage.wait_state(session_id, SessionState.ENDED)
    assert session.end_reason == EndReason.CONSENT_REFUSED
    assert (await words(stage, session_id))[-1] == "Then we cannot talk. Goodbye."
    assert recordings(stage, session_id) == 0
