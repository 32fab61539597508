"""Calls that we make: whom the policy lets us call, what comes of it, and nothing twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from shared.session.log import CallEventKind
from shared.session.model import SessionState
from tests.integration.functions.api_client import Reply
from tests.integration.telephony.calling import outbound, place
from tests.integration.telephony.stage import Stage
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
Kind = CallEventKind


async def came_out(stage: Stage, session_id: str) -> Any:
    """Wait for a call to be over, and return it as the API shows it."""

    async def over() -> Any:
        view = (await stage.api.get(f"/calls/{session_id}")).json
        return view if view["status"] == "ended" else None

    return await eventually(over, what=f"{session_id} is over")


async def test_a_call_is_placed_answered_and_hung_up(stage: Stage) -> None:
    up = await outbound(stage, agent="front", variables={"topic": "your order"})
    session = await stage.session_of(up.call_id)
    assert (session.direction, session.principal, session.transport) == ("outbound", "outbound:acs", "acs")
    assert session.variables == {
        "caller_number": "+15550199",
        "called_number": "+15550100",
        "topic": "your order",
    }
    call = await stage.line.call(up.call_id)
    assert (call["from"], call["to"], call["streaming"]["rate"]) == ("+15550199", "+15550100", 24_000)
    view = (await stage.api.get(f"/calls/{up.session_id}")).json
    assert (view["status"], view["direction"], view["outcome"]) == ("connected", "outbound", None)
    assert {"placed", "connected", "media_started"} <= {each["event"] for each in view["events"]}
    assert "15550100" not in json.dumps(view)
    assert (await stage.api.post(f"/calls/{up.session_id}/hangup")).status == 202
    assert (await stage.line.becomes(up.call_id, "ended"))["end_reason"] == "hung_up"
    view = await came_out(stage, up.session_id)
    assert (view["outcome"], view["end_reason"]) == ("answered", "operator_ended")
    assert (await stage.api.post(f"/calls/{up.session_id}/hangup")).status == 202, "again is harmless"


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [("busy", "busy"), ("decline", "declined"), ("no_answer", "no_answer"), ("unreachable", "unreachable")],
)
async def test_what_comes_of_a_call_that_reaches_nobody(stage: Stage, behaviour: str, outcome: str) -> None:
    number = f"+1555020{len(behaviour):02}"
    await stage.line.number(number, "ring")
    placed = await place(stage, to=number)
    assert (placed["status"], placed["outcome"]) == ("ringing", None)
    await stage.line.on(placed["call_id"], "phone", outcome=behaviour)
    view = await came_out(stage, placed["session_id"])
    assert (view["outcome"], view["end_reason"], view["answered_at"]) == (outcome, outcome, None)
    (failed,) = [each for each in view["events"] if each["event"] == "not_connected"]
    assert (failed["detail"], failed["code"] > 400) == (outcome, True)


async def test_a_telephone_that_nobody_picks_up_stops_ringing_after_the_time_asked_for(stage: Stage) -> None:
    await stage.line.number("+15550210", "ring")
    placed = await place(stage, to="+15550210", ring_s=1)
    # The session waits for its call as long as it may ring, and for a worker after that.
    session = await stage.store.get(placed["session_id"])
    assert session.live
    assert (await stage.api.post(f"/calls/{placed['session_id']}/hangup")).status == 202
    assert (await stage.line.becomes(placed["call_id"], "ended"))["end_reason"] == "hung_up"
    view = await came_out(stage, placed["session_id"])
    assert (view["outcome"], view["end_reason"]) == ("cancelled", "operator_ended")


async def test_an_answering_machine_is_an_outcome_that_can_be_told(stage: Stage) -> None:
    await stage.line.number("+15550211", "machine")
    up = await outbound(stage, to="+15550211")
    reply = await stage.api.post(f"/calls/{up.session_id}/hangup", {"reason": "answering_machine"})
    assert reply.status == 202
    assert (await came_out(stage, up.session_id))["outcome"] == "answering_machine"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"to": "+447000000000"}, (403, "callee_not_allowed")),
        ({"to": "+15559001234"}, (403, "callee_not_allowed")),
        ({"to": "8:acs:bob"}, (403, "callee_not_allowed")),
        ({"to": "911"}, (400, "invalid_target")),
        ({"to": ""}, (400, "invalid_body")),
        ({"caller_id": "+15550666"}, (403, "caller_id_not_allowed")),
        ({"agent": "nobody"}, (404, "unknown_agent")),
        ({"variables": {"secret": "x"}}, (400, "agent_variables")),
        ({"ring_s": 600}, (400, "invalid_body")),
        ({"number": "+15550100"}, (400, "invalid_body")),
    ],
)
async def test_calls_that_may_not_be_made(
    stage: Stage, body: dict[str, object], problem: tuple[int, str]
) -> None:
    before = len(await stage.line.calls())
    reply = await stage.api.post("/calls", {"to": "+15550100", "agent": "plain", **body})
    assert reply.problem() == problem
    assert len(await stage.line.calls()) == before


async def test_another_number_of_ours_and_a_user_without_one(stage: Stage) -> None:
    up = await outbound(stage, caller_id="+15550142")
    assert (await stage.line.call(up.call_id))["from"] == "+15550142"
    up = await outbound(stage, to="8:acs:ann")
    assert (await stage.line.call(up.call_id))["to"] == "8:acs:ann"


async def test_a_request_that_is_sent_again_places_no_second_call(stage: Stage) -> None:
    async def ask(key: str) -> Reply:
        body = json.dumps({"to": "+15550100", "agent": "plain"}).encode()
        return await stage.api.with_headers(Idempotency_Key=key).send(
            "POST", "/calls", data=body, content_type="application/json"
        )

    before = len(await stage.line.calls())
    replies = await asyncio.gather(*(ask("order-7") for _ in range(5)))
    assert {reply.status for reply in replies} == {202}
    assert len({reply.json["session_id"] for reply in replies}) == 1
    assert len(await stage.line.calls()) == before + 1
    assert (await ask("order-8")).json["session_id"] != replies[0].json["session_id"]
    assert (await ask("x" * 200)).problem() == (400, "invalid_idempotency_key")


@pytest.mark.parametrize("effect", [False, True])
async def test_a_carrier_that_fails_for_a_moment_places_one_call(stage: Stage, effect: bool) -> None:
    before = len(await stage.line.calls())
    await stage.line.fault("http", operation="create", status=503, effect=effect, times=2)
    up = await outbound(stage)
    assert (await stage.session_of(up.call_id)).live
    assert len(await stage.line.calls()) == before + 1


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (500, (503, "carrier_unavailable")),
        (429, (503, "carrier_rate_limited")),  # it asks for half a minute, which nobody waits
        (401, (502, "carrier_unauthorized")),
        (400, (502, "carrier_rejected")),
    ],
)
async def test_a_call_that_the_carrier_does_not_place_leaves_an_ended_session(
    stage: Stage, status: int, problem: tuple[int, str]
) -> None:
    await stage.line.fault("http", operation="create", status=status, retry_after=30, times=1000)
    reply = await stage.api.post("/calls", {"to": "+15550100", "agent": "plain"})
    assert reply.problem() == problem
    newest = (await stage.sessions())[0]
    session = await stage.becomes(newest.session_id, SessionState.ARCHIVED)
    assert (session.direction, session.end_reason) == ("outbound", "provider_failed")
    assert (await stage.api.get(f"/calls/{session.session_id}")).json["outcome"] == "failed"


async def test_a_call_that_was_placed_and_nobody_heard_of_it_is_hung_up(stage: Stage) -> None:
    before = {call["id"] for call in await stage.line.calls()}
    await stage.line.fault("http", operation="create", status=500, effect=True, times=1000)
    reply = await stage.api.post("/calls", {"to": "+15550100", "agent": "plain"})
    assert reply.problem() == (503, "carrier_unavailable")
    (call_id,) = {call["id"] for call in await stage.line.calls()} - before
    await stage.line.becomes(call_id, "ended")
