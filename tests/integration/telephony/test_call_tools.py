"""An agent's telephone tools, and recording: asked for as its worker does, done by the carrier, answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.session.codec import CONTROL
from shared.session.commands import EndCall, Say, Tell, ToolResult
from shared.session.jobs import AdjustRecording, ControlMessage, StartDurableTool
from shared.session.log import CallEvent, CallEventKind, HeardOut, ToolStatus
from shared.session.model import Session, SessionState, Transport
from shared.store.inbox import Inbox
from shared.store.ownership import Ownership
from tests.integration.functions.api_client import Api, Reply
from tests.integration.functions.playing_worker import attach, end, now_ms
from tests.integration.telephony.calling import Up, inbound
from tests.integration.telephony.stage import Stage
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
Kind = CallEventKind
BILLING, QUIETLY, INTERPRETER = "+15550300", "+15550301", "+15550302"


async def up_with_tools(stage: Stage) -> Up:
    return await inbound(stage, talking=True, to="+15550188")


async def send(stage: Stage, path: str, message: ControlMessage) -> Reply:
    worker = Api.bearer(stage.functions, stage.ring.issue_service_token("worker-1"))
    reply = await worker.send(
        "POST",
        f"/sessions/{message.session_id}/{path}",
        data=CONTROL.encode(message),
        content_type="application/json",
    )
    assert reply.status == 202, reply
    return reply


async def call_tool(
    stage: Stage, session_id: str, tool: str, arguments: dict[str, object], call_id: str = "call_1"
) -> None:
    message = StartDurableTool(
        session_id=session_id,
        tool_call_id=call_id,
        tool=tool,
        arguments=json.dumps(arguments),
        traceparent="",
        agent="handy",
    )
    await send(stage, "tool-calls", message)


async def result(stage: Stage, session_id: str, call_id: str = "call_1") -> tuple[ToolStatus, Any]:
    """Wait for what the model is told of a call."""

    async def there() -> ToolResult | None:
        commands = await stage.inbox(session_id)
        results = [one for one in commands if isinstance(one, ToolResult) and one.tool_call_id == call_id]
        assert len(results) <= 1
        return results[0] if results else None

    found = await eventually(there, what=f"the result of {call_id}")
    assert found is not None
    return found.status, json.loads(found.output)


async def test_a_transfer_is_announced_heard_out_and_ends_the_session(stage: Stage) -> None:
    up = await up_with_tools(stage)
    for _ in range(2):  # as a worker that takes the session over repeats it
        await call_tool(stage, up.session_id, "transfer_call", {"to": "billing"})
    (entry,) = await eventually(lambda: Inbox(stage.redis).read(up.session_id, "0-0"), what="announcement")
    assert entry.command == Say(text="Billing, one moment.")
    assert Kind.TRANSFER_ASKED not in await stage.kinds(up.session_id)
    epoch = (await stage.store.get(up.session_id)).epoch
    heard = HeardOut(entry_id=entry.entry_id, at_ms=now_ms())
    await Ownership(stage.redis, lease_ttl_s=60).commit(up.session_id, epoch, entries=[heard])
    call = await stage.line.becomes(up.call_id, "transferred")
    assert call["transfer"]["target"] == BILLING

    async def ended() -> bool:
        return EndCall(reason="transferred") in await stage.inbox(up.session_id)

    await eventually(ended, what="the worker is told that the call was handed over")
    assert not [one for one in await stage.inbox(up.session_id) if isinstance(one, Tell | ToolResult)]
    asked = await stage.event(up.session_id, Kind.TRANSFER_ASKED)
    assert asked.operation_id == "call_1"
    assert BILLING[1:] not in stage.functions.log.read_text(encoding="utf-8")


async def test_a_transfer_that_fails_is_the_tools_answer(stage: Stage) -> None:
    await stage.line.number(QUIETLY, "busy")
    up = await up_with_tools(stage)
    await call_tool(stage, up.session_id, "transfer_call", {"to": "quietly"})
    status, output = await result(stage, up.session_id)
    assert (status, output["error"]["code"]) == (ToolStatus.ERROR, "transfer_failed")
    assert "the line is busy" in output["error"]["message"]
    assert "The caller is still on the line" in output["error"]["message"]
    assert not [one for one in await stage.inbox(up.session_id) if isinstance(one, Tell)], "told once"
    assert (await stage.store.get(up.session_id)).live
    await stage.line.number(QUIETLY, "answer")


async def test_a_carrier_that_refuses_the_transfer_is_the_tools_answer(stage: Stage) -> None:
    up = await up_with_tools(stage)
    await stage.line.fault("http", operation="transfer", status=400)
    await call_tool(stage, up.session_id, "transfer_call", {"to": "quietly"})
    status, output = await result(stage, up.session_id)
    assert (status, output["error"]["code"]) == (ToolStatus.ERROR, "transfer_failed")


async def test_keys_hold_and_other_people(stage: Stage) -> None:
    up = await up_with_tools(stage)
    await call_tool(stage, up.session_id, "send_digits", {"digits": "12#"}, "c1")
    assert await result(stage, up.session_id, "c1") == (ToolStatus.OK, {"digits": "on their way"})
    await stage.event(up.session_id, Kind.DIGITS_SENT)
    for tool, call_id, held in (("hold_call", "c2", True), ("resume_call", "c3", False)):
        await call_tool(stage, up.session_id, tool, {}, call_id)
        assert (await result(stage, up.session_id, call_id))[0] is ToolStatus.OK
        (person,) = (await stage.line.call(up.call_id))["participants"]
        assert person["on_hold"] is held
    assert person["tones_heard"] == ["one", "two", "pound"]
    await call_tool(stage, up.session_id, "add_participant", {"who": "interpreter"}, "c4")
    assert (await result(stage, up.session_id, "c4"))[0] is ToolStatus.OK
    await stage.event(up.session_id, Kind.PARTICIPANT_ADDED)
    names = [each["name"] for each in (await stage.line.call(up.call_id))["participants"]]
    assert INTERPRETER in names


@pytest.mark.parametrize(
    ("tool", "arguments", "status", "code"),
    [
        ("transfer_call", {"to": "+15550666"}, ToolStatus.INVALID, "invalid_arguments"),
        ("transfer_call", {}, ToolStatus.INVALID, "invalid_arguments"),
        ("add_participant", {"who": "billing"}, ToolStatus.INVALID, "invalid_arguments"),
        ("send_digits", {"digits": "call me"}, ToolStatus.INVALID, "invalid_arguments"),
    ],
)
async def test_what_the_model_makes_up_reaches_no_carrier(
    stage: Stage, tool: str, arguments: dict[str, object], status: ToolStatus, code: str
) -> None:
    up = await up_with_tools(stage)
    await call_tool(stage, up.session_id, tool, arguments)
    found, output = await result(stage, up.session_id)
    assert (found, output["error"]["code"]) == (status, code)
    assert not {Kind.TRANSFER_ASKED, Kind.PARTICIPANT_ASKED} & set(await stage.kinds(up.session_id))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("transfer_call", {"to": "billing"}), ("hold_call", {}), ("send_digits", {"digits": "1"})],
)
async def test_a_call_from_a_browser_says_what_it_can_not(
    stage: Stage, tool: str, arguments: dict[str, object]
) -> None:
    session_id = await from_browser(stage)
    await call_tool(stage, session_id, tool, arguments)
    status, output = await result(stage, session_id)
    assert (status, output["error"]["code"]) == (ToolStatus.ERROR, "unsupported_by_carrier")
    assert output["error"]["message"].startswith("A call of this carrier cannot be ")
    assert not [one for one in await stage.inbox(session_id) if isinstance(one, Say)], "nothing is announced"


async def from_browser(stage: Stage) -> str:
    from shared.ids import new_session_id

    session = Session(
        session_id=new_session_id(),
        state=SessionState.CREATED,
        transport=Transport.WEBRTC,
        agent="handy",
        agent_version="",
        principal="p",
        created_at_ms=now_ms(),
    )
    await stage.store.create(session)
    await stage.store.report_call(session.session_id, f"rtc_{session.session_id[4:]}", "azure_openai")
    await attach(stage.redis, session.session_id)
    return session.session_id


async def wish(stage: Stage, session_id: str, kind: CallEventKind, *, agent: str = "handy") -> bool:
    """Log what the worker wants, and say so; return whether that changed anything."""
    epoch = (await stage.store.get(session_id)).epoch
    wanted = CallEvent(event=kind, detail=agent, at_ms=now_ms())
    await Ownership(stage.redis, lease_ttl_s=60).commit(session_id, epoch, entries=[wanted])
    return await adjust(stage, session_id)


async def adjust(stage: Stage, session_id: str) -> bool:
    reply = await send(stage, "recording", AdjustRecording(session_id=session_id, traceparent=""))
    return bool(reply.json["changed"])


async def test_a_recording_pauses_and_goes_on_as_the_log_says(stage: Stage) -> None:
    up = await up_with_tools(stage)
    await wish(stage, up.session_id, Kind.RECORDING_ASKED)
    await wish(stage, up.session_id, Kind.RECORDING_PAUSE_ASKED)
    assert not await adjust(stage, up.session_id)
    await wish(stage, up.session_id, Kind.RECORDING_ASKED)
    steps = [event for event in await stage.events(up.session_id) if event.operation_id]
    told = [event for event in steps if event.event is not Kind.RECORDING_CHANGED]
    assert [event.event for event in told if "recording" in event.event] == [
        Kind.RECORDING_STARTED,
        Kind.RECORDING_PAUSED,
        Kind.RECORDING_RESUMED,
    ]
    assert len({event.operation_id for event in told if "recording" in event.event}) == 1


async def test_a_wish_that_has_changed_meanwhile_counts(stage: Stage) -> None:
    up = await up_with_tools(stage)
    epoch = (await stage.store.get(up.session_id)).epoch
    kinds = (Kind.RECORDING_ASKED, Kind.RECORDING_PAUSE_ASKED)
    wishes = [CallEvent(event=kind, detail="handy", at_ms=now_ms()) for kind in kinds]
    await Ownership(stage.redis, lease_ttl_s=60).commit(up.session_id, epoch, entries=wishes)
    assert not await adjust(stage, up.session_id), "both messages come late"
    assert Kind.RECORDING_STARTED not in await stage.kinds(up.session_id)


async def test_a_recording_that_can_not_be_paused_ends_and_another_begins(stage: Stage) -> None:
    up = await up_with_tools(stage)
    await wish(stage, up.session_id, Kind.RECORDING_ASKED)
    await stage.line.fault("http", operation="pause_recording", status=400)
    await wish(stage, up.session_id, Kind.RECORDING_PAUSE_ASKED)
    failed = await stage.event(up.session_id, Kind.RECORDING_FAILED)
    assert failed.detail == "carrier_rejected"
    stopped = await stage.event(up.session_id, Kind.RECORDING_STOPPED)
    await wish(stage, up.session_id, Kind.RECORDING_ASKED)
    events = await stage.events(up.session_id)
    started = [event.operation_id for event in events if event.event is Kind.RECORDING_STARTED]
    assert started[0] == stopped.operation_id
    assert len(set(started)) == 2


async def test_a_call_is_recorded_once_and_until_its_session_ends(stage: Stage) -> None:
    up = await up_with_tools(stage)
    assert [await wish(stage, up.session_id, Kind.RECORDING_ASKED), await adjust(stage, up.session_id)] == [
        True,
        False,
    ]
    started = await stage.event(up.session_id, Kind.RECORDING_STARTED)
    changed = await stage.event(up.session_id, Kind.RECORDING_CHANGED)
    assert (changed.detail, changed.operation_id) == ("active", started.operation_id)
    epoch = (await stage.store.get(up.session_id)).epoch
    await end(stage.redis, up.session_id, epoch, "agent_ended")
    worker = Api.bearer(stage.functions, stage.ring.issue_service_token("worker-1"))
    ended = {"type": "lifecycle_event", "session_id": up.session_id, "event": "ended"}
    assert (await worker.post(f"/sessions/{up.session_id}/lifecycle", ended)).status == 202
    stopped = await stage.event(up.session_id, Kind.RECORDING_STOPPED)
    assert stopped.operation_id == started.operation_id
    kinds = await stage.kinds(up.session_id)
    assert kinds.count(Kind.RECORDING_STARTED) == 1
    await stage.becomes(up.session_id, SessionState.ARCHIVED)


async def test_a_call_that_can_not_be_recorded_goes_on_and_says_so(stage: Stage) -> None:
    session_id = await from_browser(stage)
    await wish(stage, session_id, Kind.RECORDING_ASKED)
    await adjust(stage, session_id)
    failed = await stage.event(session_id, Kind.RECORDING_FAILED)
    assert failed.detail == "unsupported_by_carrier"
    assert (await stage.kinds(session_id)).count(Kind.RECORDING_FAILED) == 1
    assert (await stage.store.get(session_id)).live


async def test_nothing_is_recorded_that_the_agent_does_not_want(stage: Stage) -> None:
    up = await inbound(stage, talking=True)
    await wish(stage, up.session_id, Kind.RECORDING_ASKED, agent="plain")
    assert not {Kind.RECORDING_STARTED, Kind.RECORDING_FAILED} & set(await stage.kinds(up.session_id))
