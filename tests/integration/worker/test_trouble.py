"""What a worker survives: a provider that fails, Redis that is gone, a control plane that is away."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from shared.session.commands import ToolResult
from shared.session.jobs import StartDurableTool
from shared.session.log import (
    AgentTurn,
    Attached,
    CallEvent,
    CallEventKind,
    ErrorRecorded,
    ToolFinished,
    ToolStatus,
    UserTurn,
)
from shared.session.model import EndReason, SessionState, Transport
from tests.integration.worker.stage import Stage
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011])
async def test_a_sideband_that_closes_in_mid_response_is_attached_again(stage: Stage, code: int) -> None:
    session_id, call_id = await stage.talk()
    await stage.wait_entry(session_id, AgentTurn)
    await stage.fault(
        target=call_id, kind="close", event="response.output_audio_transcript.delta", code=str(code)
    )
    await stage.say(call_id, "first")

    async def attached_twice() -> bool:
        return len(await stage.entries(session_id, Attached)) >= 2

    await eventually(attached_twice, what="a second attach")
    await stage.say(call_id, "look up 5")
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "25" in turn.text)
    assert (await stage.sessions.get(session_id)).state is SessionState.ACTIVE
    greetings = [t for t in await stage.entries(session_id, AgentTurn) if t.text.startswith("Hello")]
    assert len(greetings) == 1


async def test_a_call_that_appears_late_is_waited_for(stage: Stage) -> None:
    await stage.fault(kind="late_404", ms=600)
    session_id, _ = await stage.place_call()
    await stage.wait_state(session_id, SessionState.ACTIVE)


async def test_a_call_that_never_appears_ends_the_session_with_the_reason(stage: Stage) -> None:
    await stage.fault(kind="http", route="sideband", status=404, code="call_id_not_found", times=1000)
    session_id, _ = await stage.place_call()
    session = await stage.wait_state(session_id, SessionState.ENDED)
    assert session.end_reason == EndReason.PROVIDER_FAILED
    (error,) = await stage.entries(session_id, ErrorRecorded)
    assert error.code == "call_not_found"


async def test_a_sip_call_that_is_gone_before_anybody_attaches_was_hung_up(stage: Stage) -> None:
    await stage.fault(kind="http", route="sideband", status=404, code="call_id_not_found", times=1000)
    session_id, _ = await stage.place_call(transport=Transport.SIP)
    session = await stage.wait_state(session_id, SessionState.ENDED)
    assert session.end_reason == EndReason.CALLER_HUNG_UP


async def test_a_sip_call_that_leaves_after_its_transfer_was_asked_for_was_transferred(stage: Stage) -> None:
    session_id, call_id = await stage.place_call(transport=Transport.SIP)
    await stage.wait_state(session_id, SessionState.ACTIVE)
    asked = CallEvent(event=CallEventKind.TRANSFER_ASKED, at_ms=int(time.time() * 1000))
    await stage.log.append(session_id, [asked])
    await stage.emulate(f"/_emu/calls/{call_id}/hang-up", {})
    session = await stage.wait_state(session_id, SessionState.ENDED)
    assert session.end_reason == EndReason.TRANSFERRED


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_provider_in_trouble_is_tried_again(stage: Stage, status: int) -> None:
    await stage.fault(kind="http", route="sideband", status=status, times=3)
    session_id, _ = await stage.place_call()
    await stage.wait_state(session_id, SessionState.ACTIVE)


async def test_a_refused_credential_is_not_tried_again(stage: Stage) -> None:
    await stage.fault(kind="http", route="sideband", status=401, times=1000)
    session_id, _ = await stage.place_call()
    await stage.wait_state(session_id, SessionState.ENDED)
    (error,) = await stage.entries(session_id, ErrorRecorded)
    assert error.code == "provider_unauthorized"
    assert "AZURE_OPENAI_API_KEY" in error.detail


async def test_rate_limited_responses_and_failed_transcriptions_are_recorded_and_survived(
    stage: Stage,
) -> None:
    session_id, call_id = await stage.talk()
    await stage.wait_entry(session_id, AgentTurn)
    await stage.fault(target=call_id, kind="response_failed", code="rate_limit_exceeded")
    await stage.say(call_id, "look up 4")
    await stage.wait_entry(session_id, ErrorRecorded, lambda error: error.code == "rate_limit_exceeded")
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "16" in turn.text)
    await stage.fault(target=call_id, kind="transcription_failed")
    await stage.say(call_id, "look up 6")
    await stage.wait_entry(session_id, UserTurn, lambda turn: turn.status.value == "failed")


async def test_duplicate_and_unknown_events_do_no_harm(stage: Stage) -> None:
    session_id, call_id = await stage.talk()
    await stage.wait_entry(session_id, AgentTurn)
    await stage.fault(target=call_id, kind="duplicate", event="response.*", times=50)
    await stage.fault(target=call_id, kind="unknown_event", event="response.created", times=5)
    await stage.say(call_id, "look up 3")
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "9}" in turn.text)
    assert len(await stage.entries(session_id, ToolFinished)) == 1


async def test_an_expired_provider_session_ends_with_its_reason(stage: Stage) -> None:
    await stage.fault(kind="expire", ms=700)
    session_id, _ = await stage.talk()
    session = await stage.wait_state(session_id, SessionState.ENDED)
    assert session.end_reason == EndReason.PROVIDER_LIMIT


async def test_redis_refusing_connections_for_a_while_loses_nothing(stage: Stage) -> None:
    session_id, call_id = await stage.talk()
    await stage.wait_entry(session_id, AgentTurn)
    await stage.proxy.cut()
    over_at = asyncio.get_running_loop().time() + 5  # longer than the lease, and than any single attempt
    status, body = await stage.probe("/ready")
    assert (status, body["status"]) == (503, "redis_unavailable")
    assert (await stage.probe("/health"))[0] == 200
    await stage.say(call_id, "look up 8")
    await stage.say(call_id, "and a plain answer")
    assert await stage.entries(session_id, UserTurn) == []
    await asyncio.sleep(over_at - asyncio.get_running_loop().time())
    await stage.proxy.mend()
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "64" in turn.text)
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "plain answer" in turn.text)
    assert len(await stage.entries(session_id, UserTurn)) == 2
    assert len(await stage.entries(session_id, ToolFinished)) == 1
    await eventually(lambda: stage.probe("/ready"), what="ready again")


async def test_a_durable_tool_is_started_once_and_its_result_is_spoken(stage: Stage) -> None:
    stage.control_plane.refusals = [("tool-calls", 503), ("tool-calls", 503)]
    session_id, call_id = await stage.talk()
    await stage.say(call_id, "book a day")

    def started() -> list[StartDurableTool]:
        return [m for m in stage.control_plane.taken if isinstance(m, StartDurableTool)]

    await eventually(started, what="the orchestration was asked for")
    (start,) = started()
    assert (start.tool, json.loads(start.arguments)) == ("book", {"day": "friday"})
    result = ToolResult(
        tool_call_id=start.tool_call_id, status=ToolStatus.OK, output='{"booked":"friday"}', duration_ms=5
    )
    await stage.command(session_id, result)
    await stage.command(session_id, result)
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "booked" in turn.text)
    assert len(await stage.entries(session_id, ToolFinished)) == 1


async def test_a_durable_tool_that_can_never_start_is_told_to_the_model(stage: Stage) -> None:
    session_id, call_id = await stage.talk()
    await eventually(lambda: stage.control_plane.taken, what="the attachment was reported")
    stage.control_plane.refusals = [("tool-calls", 400)]
    await stage.say(call_id, "book a day")
    finished = await stage.wait_entry(session_id, ToolFinished)
    assert finished.status is ToolStatus.ERROR
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "tool_not_started" in turn.text)


async def test_a_provider_that_refuses_connections_is_waited_for_and_then_given_up(stage: Stage) -> None:
    session_id, _ = await stage.talk()
    await stage.wait_entry(session_id, AgentTurn)
    stage.emulator.process.kill()
    await stage.emulator.process.wait()
    session = await stage.wait_state(session_id, SessionState.ENDED, within=25)
    assert session.end_reason == EndReason.PROVIDER_FAILED
    (error,) = await stage.entries(session_id, ErrorRecorded)
    assert error.code == "provider_unavailable"
    await stage.start_emulator()
    session_id, _ = await stage.place_call()
    await stage.wait_state(session_id, SessionState.ACTIVE)
