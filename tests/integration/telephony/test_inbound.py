"""Phone calls that ring at Communication Services: answered once, redirected or refused, and never leaked."""

from __future__ import annotations

from typing import Any

import pytest

from shared.session.log import CallEventKind
from shared.session.model import SessionState
from tests.integration.telephony.stage import Stage
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
Kind = CallEventKind


async def answered(stage: Stage, **ring: object) -> tuple[str, str]:
    """Let a call ring until it is answered and its media socket is open; return its id and the session's."""
    call = await stage.line.ring(**ring)
    await stage.line.becomes(call["id"], "connected")
    socket = await stage.media.of_call(call["id"])
    await stage.line.told(call["id"], "CallConnected")
    return call["id"], socket.session_id


async def test_three_deliveries_of_a_call_are_one_answer_with_media_to_a_worker(stage: Stage) -> None:
    call_id, session_id = await answered(stage, duplicates=2)
    deliveries = (await stage.line.deliveries())[-3:]
    assert {each["state"] for each in deliveries} == {"delivered"}, deliveries
    assert len({each["event_ids"][0] for each in deliveries}) == 1
    session = await stage.session_of(call_id)
    assert session.session_id == session_id
    assert (session.state, session.transport, session.agent) == (SessionState.CONNECTING, "acs", "plain")
    assert (session.direction, session.principal) == ("inbound", "inbound:acs")
    assert session.answered_at_ms > 0
    call = await stage.line.call(call_id)
    assert call["streaming"]["rate"] == 24_000
    assert call["operation_context"] == session_id
    assert len(stage.logged("inbound_call_answered", session_id=session_id)) == 1
    assert (await stage.events(session_id))[0].detail == "number"
    assert {Kind.DECIDED, Kind.CONNECTED, Kind.MEDIA_STARTED} <= set(await stage.kinds(session_id))
    assert await stage.redis.xlen("sessions:attach") == 0, "the carrier opens the socket at a worker"


async def test_events_in_the_schema_of_cloud_events_are_the_same(stage: Stage) -> None:
    url = stage.functions.event_grid_url("incoming_call")
    await stage.line.subscribe(url, "in-cloud-events", "cloudevents")
    try:
        call_id, session_id = await answered(stage)  # both subscriptions tell of it, each in its schema
        await stage.line.deliveries()
    finally:
        await stage.line.unsubscribe("in-cloud-events")
    assert [each.session_id for each in await stage.sessions_of(call_id)] == [session_id]
    assert len(stage.logged("inbound_call_answered", session_id=session_id)) == 1


async def test_a_poisonous_event_keeps_no_other_of_its_batch_from_being_handled(stage: Stage) -> None:
    incoming = "Microsoft.Communication.IncomingCall"
    poison: list[dict[str, Any]] = [
        {"type": incoming, "data": {"correlationId": "x", "incomingCallContext": ""}},
        {"type": incoming, "data": ["no", "object"]},
        {"type": incoming, "data": {"correlationId": 7, "incomingCallContext": "c", "from": "nobody"}},
        {"type": incoming, "data": None},
        {"type": "Microsoft.Communication.SMSReceived", "data": {"message": "hello"}},
    ]
    call_id, _ = await answered(stage, batch_with=poison)
    (delivery,) = [each for each in await stage.line.deliveries() if len(each["event_ids"]) == 6]
    assert (delivery["state"], delivery["attempts"]) == ("delivered", [202])
    assert len(await stage.sessions_of(call_id)) == 1
    assert len(stage.logged("event_dropped", code="invalid_event")) == 4


async def test_only_an_agent_that_asks_for_numbers_gets_them(stage: Stage) -> None:
    call_id, _ = await answered(stage, to="+15550142", **{"from": "+15550123"})
    session = await stage.session_of(call_id)
    assert session.variables == {"caller_number": "+15550123", "called_number": "+15550142"}
    call_id, _ = await answered(stage, **{"from": "+15550124"})
    assert (await stage.session_of(call_id)).variables == {}
    written = stage.functions.log.read_text(encoding="utf-8")
    for number in ("15550123", "15550124", "15550142"):
        assert number not in written


@pytest.mark.parametrize(
    ("ring", "reason", "told"),
    [
        ({"from": "+15550666"}, "caller_denied", "forbidden"),
        ({"to": "+15550100"}, "number_not_served", "none"),
    ],
)
async def test_a_call_that_the_policy_refuses_leaves_no_session(
    stage: Stage, ring: dict[str, str], reason: str, told: str
) -> None:
    before = len(await stage.sessions())
    call = await stage.line.ring(**ring)
    ended = await stage.line.becomes(call["id"], "ended")
    assert (ended["end_reason"], ended["reject_reason"]) == ("rejected", told)
    await stage.record("inbound_call_refused", reason=reason, told_as=told)
    assert len(await stage.sessions()) == before


async def test_a_number_that_leads_elsewhere_is_redirected_with_its_rule_in_the_log(stage: Stage) -> None:
    call = await stage.line.ring(to="+15550177")
    ended = await stage.line.becomes(call["id"], "ended")
    assert (ended["end_reason"], ended["redirected_to"]) == ("redirected", "+15550111")
    await stage.record("inbound_call_redirected", rule="number")


# What the carrier does wrong


@pytest.mark.parametrize("effect", [False, True])
async def test_an_answer_that_fails_or_whose_reply_is_lost_is_one_answer(stage: Stage, effect: bool) -> None:
    await stage.line.fault("http", operation="answer", status=503, effect=effect, times=3)
    call_id, session_id = await answered(stage)
    await stage.line.deliveries()
    assert [each.session_id for each in await stage.sessions_of(call_id)] == [session_id]
    assert (await stage.line.call(call_id))["state"] == "connected"
    assert (await stage.store.get(session_id)).live


async def test_a_call_whose_answer_nobody_ever_heard_of_is_named_by_its_first_callback(stage: Stage) -> None:
    await stage.line.fault("http", operation="answer", status=500, effect=True, times=1000)
    call_id, session_id = await answered(stage)
    session = await stage.session_of(call_id)
    assert (session.session_id, session.live) == (session_id, True)
    await stage.line.deliveries()
    assert len(stage.logged("inbound_call_answered", session_id=session_id)) <= 1


@pytest.mark.parametrize(("status", "retry_after"), [(429, None), (429, 30)])
async def test_a_limit_of_the_carrier_is_waited_out_by_another_delivery(
    stage: Stage, status: int, retry_after: int | None
) -> None:
    await stage.line.fault("http", operation="answer", status=status, retry_after=retry_after, times=3)
    call_id, _ = await answered(stage)
    assert len(await stage.sessions_of(call_id)) == 1


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_an_answer_that_is_refused_ends_the_session_and_refuses_the_call(
    stage: Stage, status: int
) -> None:
    await stage.line.fault("http", operation="answer", status=status)
    call = await stage.line.ring()
    ended = await stage.line.becomes(call["id"], "ended")
    assert ended["end_reason"] == "rejected"
    failed = stage.logged("inbound_call_failed")[-1]
    expected = "carrier_rejected" if status == 400 else "carrier_unauthorized"
    assert failed["code"] == expected
    session = await stage.becomes(failed["session_id"], SessionState.ARCHIVED)
    assert session.end_reason == "provider_failed"


async def test_a_caller_who_gave_up_meanwhile_leaves_an_ended_session(stage: Stage) -> None:
    await stage.line.fault("event_grid_delay", ms=300)
    call = await stage.line.ring()
    await stage.line.on(call["id"], "hang-up")
    gone = await stage.record("inbound_call_gone", call_id=call["correlation_id"])
    session = await stage.becomes(gone["session_id"], SessionState.ARCHIVED)
    assert session.end_reason == "caller_hung_up"


async def test_a_call_that_comes_up_when_its_session_is_over_is_hung_up(stage: Stage) -> None:
    """Its answer's reply is lost for good, and its first callback is late: nobody knew its id."""
    await stage.line.fault("http", operation="answer", status=500, effect=True, times=1000)
    await stage.line.fault("callback_delay", event="CallConnected", ms=800)
    known = {session.session_id for session in await stage.sessions()}
    call = await stage.line.ring()

    async def new_session() -> list[str]:
        return [each.session_id for each in await stage.sessions() if each.session_id not in known]

    (session_id,) = await eventually(new_session, what="a session for the call")
    await stage.line.becomes(call["id"], "connected")
    assert (await stage.api.post(f"/sessions/{session_id}/end")).status == 202
    await stage.line.becomes(call["id"], "ended")
    await stage.record("call_without_session_hung_up", call_id=call["id"])
    await stage.line.deliveries()


# How it ends


async def test_when_the_caller_hangs_up_the_session_ends(stage: Stage) -> None:
    call_id, session_id = await answered(stage)
    await stage.line.on(call_id, "hang-up")
    session = await stage.becomes(session_id, SessionState.ARCHIVED)
    assert session.end_reason == "caller_hung_up"
    assert Kind.DISCONNECTED in await stage.kinds(session_id)


async def test_when_the_session_ends_the_call_is_hung_up_for_everybody(stage: Stage) -> None:
    call_id, session_id = await answered(stage)
    assert (await stage.api.post(f"/sessions/{session_id}/end")).status == 202
    assert (await stage.line.becomes(call_id, "ended"))["end_reason"] == "hung_up"
    session = await stage.becomes(session_id, SessionState.ARCHIVED)
    assert session.end_reason == "operator_ended"


async def test_an_erased_session_hangs_up_too(stage: Stage) -> None:
    call_id, session_id = await answered(stage)
    assert (await stage.api.delete(f"/sessions/{session_id}")).status == 204
    await stage.line.becomes(call_id, "ended")


async def test_media_that_break_are_opened_again_and_given_up_in_the_end(stage: Stage) -> None:
    call_id, session_id = await answered(stage)
    await stage.line.on(call_id, "media/drop")
    again = await stage.media.of_call(call_id, 2)
    assert again.session_id == session_id
    stage.media.refuse = 1
    await stage.line.on(call_id, "media/drop")
    await stage.media.of_call(call_id, 3)
    kinds = await stage.kinds(session_id)
    assert kinds.count(Kind.MEDIA_RESTART_ASKED) == 3
    assert kinds.count(Kind.MEDIA_FAILED) == 3
    assert (await stage.store.get(session_id)).live
