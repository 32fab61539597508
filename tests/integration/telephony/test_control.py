"""What can be done to a call that is up: transfer, more people, hold, digits; each once, each in the log."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from shared.session.commands import Say, Tell
from shared.session.log import AgentTurn, CallEventKind, CommandReceived, HeardOut, TurnStatus
from shared.session.model import Session, SessionState, Transport
from shared.store.inbox import Inbox
from shared.store.ownership import Ownership
from tests.integration.functions.api_client import Reply
from tests.integration.functions.playing_worker import attach, now_ms
from tests.integration.telephony.calling import Up, inbound, outbound
from tests.integration.telephony.stage import Stage
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
Kind = CallEventKind
BILLING = "+15550300"


async def ask(stage: Stage, up: Up, what: str, body: object = None, *, key: str = "") -> Reply:
    api = stage.api.with_headers(Idempotency_Key=key) if key else stage.api
    data = None if body is None else json.dumps(body).encode()
    return await api.send(
        "POST", f"/calls/{up.session_id}/{what}", data=data, content_type="application/json"
    )


async def test_a_transfer_ends_the_session_and_leaves_the_people_talking(stage: Stage) -> None:
    up = await inbound(stage)
    reply = await ask(stage, up, "transfer", {"target": BILLING})
    assert reply.status == 202, reply
    call = await stage.line.becomes(up.call_id, "transferred")
    assert call["transfer"]["target"] == BILLING
    session = await stage.becomes(up.session_id, SessionState.ARCHIVED)
    assert session.end_reason == "transferred"
    assert (await stage.line.call(up.call_id))["state"] == "transferred", "nobody hangs it up"
    view = (await stage.api.get(f"/calls/{up.session_id}")).json
    assert view["outcome"] == "transferred"
    (asked,) = [each for each in view["events"] if each["event"] == "transfer_asked"]
    (accepted,) = [each for each in view["events"] if each["event"] == "transfer_accepted"]
    assert asked["operation_id"] == accepted["operation_id"] == reply.json["operation_id"]
    assert BILLING[1:] not in json.dumps(view) + stage.functions.log.read_text(encoding="utf-8")


async def test_the_model_hears_of_a_transfer_that_failed_and_keeps_the_caller(stage: Stage) -> None:
    await stage.line.number(BILLING, "busy")
    up = await inbound(stage, talking=True)
    assert (await ask(stage, up, "transfer", {"target": BILLING})).status == 202
    failed = await stage.event(up.session_id, Kind.TRANSFER_FAILED)
    assert failed.detail == "busy"
    (told,) = await eventually(lambda: stage.inbox(up.session_id), what="the model is told")
    assert isinstance(told, Tell)
    assert told.respond
    assert "The caller is still on the line" in told.text
    assert (await stage.store.get(up.session_id)).live
    await stage.line.number(BILLING, "answer")


async def test_an_announcement_is_heard_before_the_transfer(stage: Stage) -> None:
    up = await inbound(stage, talking=True)
    words = "Billing, one moment."
    body = {"target": BILLING, "announcement": words}
    assert (await ask(stage, up, "transfer", body, key="t-1")).status == 202
    assert (await ask(stage, up, "transfer", body, key="t-1")).status == 202
    (entry,) = await eventually(
        lambda: Inbox(stage.redis).read(up.session_id, "0-0"), what="the announcement in the inbox"
    )
    assert entry.command == Say(text=words)
    await said(stage, up, words, entry.entry_id)
    assert Kind.TRANSFER_ASKED not in await stage.kinds(up.session_id), "it is not heard to its end"
    await heard(stage, up, entry.entry_id)
    await stage.event(up.session_id, Kind.TRANSFER_ASKED)
    await stage.line.becomes(up.call_id, "transferred")
    assert (await stage.kinds(up.session_id)).count(Kind.TRANSFER_ASKED) == 1


async def said(stage: Stage, up: Up, words: str, entry_id: str) -> None:
    """Log, as the worker does, that the agent says something from the inbox."""
    at_ms = now_ms()
    turn = AgentTurn(
        item_id="i1",
        response_id="r1",
        agent="plain",
        text=words,
        status=TurnStatus.COMPLETED,
        first_audio_ms=-1,
        spoken_at_ms=at_ms,
        at_ms=at_ms,
    )
    told = CommandReceived(command="say", detail=entry_id, at_ms=at_ms)
    epoch = (await stage.store.get(up.session_id)).epoch
    await Ownership(stage.redis, lease_ttl_s=60).commit(up.session_id, epoch, entries=[turn, told])


async def heard(stage: Stage, up: Up, entry_id: str) -> None:
    """Log, as the worker does, that the caller has heard it."""
    epoch = (await stage.store.get(up.session_id)).epoch
    out = HeardOut(entry_id=entry_id, at_ms=now_ms())
    await Ownership(stage.redis, lease_ttl_s=60).commit(up.session_id, epoch, entries=[out])


async def test_a_transfer_that_the_carrier_refuses_after_its_announcement_is_told_to_the_model(
    stage: Stage,
) -> None:
    up = await inbound(stage, talking=True)
    await stage.line.fault("http", operation="transfer", status=400)
    assert (await ask(stage, up, "transfer", {"target": BILLING, "announcement": "Hold on."})).status == 202
    (entry,) = await eventually(lambda: Inbox(stage.redis).read(up.session_id, "0-0"), what="Say")
    await heard(stage, up, entry.entry_id)
    failed = await stage.event(up.session_id, Kind.TRANSFER_FAILED)
    assert failed.detail == "carrier_rejected"

    async def commands() -> bool:
        return any(isinstance(command, Tell) for command in await stage.inbox(up.session_id))

    await eventually(commands, what="the model is told")


async def test_more_people_come_into_a_call_or_do_not(stage: Stage) -> None:
    up = await inbound(stage, talking=True)
    reply = await ask(stage, up, "participants", {"target": BILLING})
    assert reply.status == 202
    added = await stage.event(up.session_id, Kind.PARTICIPANT_ADDED)
    assert added.operation_id == reply.json["operation_id"]
    names = [each["name"] for each in (await stage.line.call(up.call_id))["participants"]]
    assert BILLING in names
    await stage.line.number("+15550301", "no_answer")
    assert (await ask(stage, up, "participants", {"target": "+15550301", "ring_s": 5})).status == 202
    await eventually(lambda: _ringing(stage, up), what="it rings")
    await stage.line.on(up.call_id, "phone", outcome="decline")
    failed = await stage.event(up.session_id, Kind.PARTICIPANT_FAILED)
    assert failed.detail == "declined"

    async def told() -> Any:
        commands = await stage.inbox(up.session_id)
        return commands if len(commands) == 2 else None

    joined, missing = await eventually(told, what="the model is told of both")
    assert (joined.respond, missing.respond) == (False, True)
    # With three in the call it has to be said who is handed over.
    assert (await ask(stage, up, "transfer", {"target": "+15550302"})).status == 202
    await stage.event(up.session_id, Kind.TRANSFER_ACCEPTED)


async def _ringing(stage: Stage, up: Up) -> bool:
    return bool((await stage.line.call(up.call_id))["ringing"])


@pytest.mark.parametrize("call", [inbound, outbound])
async def test_whoever_is_on_the_line_is_held_and_hears_digits(stage: Stage, call: Any) -> None:
    up = await call(stage)

    async def somebody(on_hold: bool) -> bool:
        (person,) = (await stage.line.call(up.call_id))["participants"]
        return person["on_hold"] is on_hold

    assert (await ask(stage, up, "hold")).status == 202
    await eventually(lambda: somebody(True), what="on hold")
    assert (await ask(stage, up, "resume")).status == 202
    await eventually(lambda: somebody(False), what="off hold")
    for _ in range(2):
        assert (await ask(stage, up, "dtmf", {"digits": "12#*d"}, key="d-1")).status == 202
    await stage.event(up.session_id, Kind.DIGITS_SENT)
    (person,) = (await stage.line.call(up.call_id))["participants"]
    assert person["tones_heard"] == ["one", "two", "pound", "asterisk", "d"]
    assert {Kind.HELD, Kind.RESUMED, Kind.DIGITS_ASKED} <= set(await stage.kinds(up.session_id))


async def test_what_makes_no_sense_is_refused(stage: Stage) -> None:
    up = await inbound(stage)
    for what, body, problem in (
        ("transfer", {"target": "+447000000000"}, (403, "callee_not_allowed")),
        ("transfer", {"target": "nobody"}, (400, "invalid_target")),
        ("transfer", {}, (400, "invalid_body")),
        ("transfer", {"target": BILLING, "announcement": "Wait."}, (409, "call_not_established")),
        ("participants", {"target": "+15559000000"}, (403, "callee_not_allowed")),
        ("participants", {"target": BILLING, "ring_s": 1}, (400, "invalid_body")),
        ("dtmf", {"digits": "12x"}, (400, "invalid_body")),
        ("dtmf", {"digits": ""}, (400, "invalid_body")),
    ):
        assert (await ask(stage, up, what, body)).problem() == problem, (what, body)
    assert (await stage.line.call(up.call_id))["state"] == "connected"
    await stage.line.on(up.call_id, "hang-up")
    await stage.becomes(up.session_id, SessionState.ARCHIVED)
    assert (await ask(stage, up, "hold")).problem() == (409, "session_ended")
    nobody = Up("", "ses_" + "0" * 26, "")
    assert (await ask(stage, nobody, "hold")).problem() == (404, "session_not_found")


async def test_a_call_of_another_carrier_says_what_it_cannot(stage: Stage) -> None:
    for transport, target in ((Transport.SIP, "8:acs:ann"), (Transport.WEBRTC, BILLING)):
        session = Session(
            session_id=f"ses_{transport.value:0<26}",
            state=SessionState.CREATED,
            transport=transport,
            agent="plain",
            agent_version="",
            principal="p",
            created_at_ms=now_ms(),
        )
        await stage.store.create(session)
        await stage.store.report_call(session.session_id, f"rtc_{transport.value}", "azure_openai")
        up = Up("", session.session_id, "")
        for what, given in (("transfer", {"target": target}), ("hold", None), ("dtmf", {"digits": "1"})):
            assert (await ask(stage, up, what, given)).problem() == (409, "unsupported_by_carrier"), what


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (500, (503, "carrier_unavailable")),
        (429, (503, "carrier_rate_limited")),
        (403, (502, "carrier_unauthorized")),
        (404, (404, "call_not_found")),
        (409, (409, "carrier_conflict")),
    ],
)
async def test_faults_of_the_carrier_are_told_and_logged(
    stage: Stage, status: int, problem: tuple[int, str]
) -> None:
    up = await inbound(stage)
    await stage.line.fault("http", operation="transfer", status=status, retry_after=30, times=1000)
    assert (await ask(stage, up, "transfer", {"target": BILLING})).problem() == problem
    failed = await stage.event(up.session_id, Kind.TRANSFER_FAILED)
    assert failed.detail == problem[1]
    assert (await stage.line.call(up.call_id))["transfer"] is None


async def test_a_transfer_whose_reply_was_lost_is_not_done_twice(stage: Stage) -> None:
    up = await inbound(stage)
    await stage.line.fault("http", operation="transfer", status=503, effect=True)
    assert (await ask(stage, up, "transfer", {"target": BILLING})).status == 202
    await stage.line.becomes(up.call_id, "transferred")
    assert len(await stage.line.events(up.call_id, "transfer")) == 1


async def test_a_carrier_that_will_not_hang_up_is_asked_again(stage: Stage) -> None:
    up = await inbound(stage)
    await stage.line.fault("http", operation="terminate", status=503, times=2)
    assert (await stage.api.post(f"/calls/{up.session_id}/hangup")).status == 202
    await stage.line.becomes(up.call_id, "ended")
    session = await stage.becomes(up.session_id, SessionState.ARCHIVED)
    assert session.end_reason == "operator_ended"


async def test_a_goodbye_is_said_by_the_worker(stage: Stage) -> None:
    up = await inbound(stage)
    await attach(stage.redis, up.session_id)
    reply = await ask(stage, up, "hangup", {"goodbye": "Bye now.", "reason": "answering_machine"})
    assert reply.status == 202
    (command,) = await stage.inbox(up.session_id)
    assert (command.reason, command.goodbye) == ("answering_machine", "Bye now.")  # type: ignore[union-attr]
    assert (await stage.line.call(up.call_id))["state"] == "connected"


async def test_the_same_operation_at_the_same_moment_happens_once(stage: Stage) -> None:
    up = await inbound(stage)
    replies = await asyncio.gather(*(ask(stage, up, "dtmf", {"digits": "7"}, key="once") for _ in range(4)))
    assert {reply.status for reply in replies} <= {202, 409}
    assert 202 in {reply.status for reply in replies}
    await stage.event(up.session_id, Kind.DIGITS_SENT)
    (person,) = (await stage.line.call(up.call_id))["participants"]
    assert person["tones_heard"] == ["seven"]
