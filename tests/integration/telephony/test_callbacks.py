"""Callbacks: believed by two tokens, each event once, in any order, whatever else is in the batch."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.ids import new_session_id
from shared.session.commands import EndCall, Tell
from shared.session.log import CallEventKind
from shared.session.model import SessionState
from tests.integration.functions.api_client import Api, Reply
from tests.integration.telephony.calling import Up, inbound
from tests.integration.telephony.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")
Kind = CallEventKind


async def token_of(stage: Stage, up: Up) -> str:
    """Return the token in the address that the carrier was given."""
    address = (await stage.line.call(up.call_id))["callback_uri"]
    return parse_qs(urlsplit(address).query)["token"][0]


def event(name: str, call_id: str = "c1", **data: object) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "source": f"calling/callConnections/{call_id}",
        "type": f"Microsoft.Communication.{name}",
        "specversion": "1.0",
        "data": {"callConnectionId": call_id, "resultInformation": {"code": 200, "subCode": 0}, **data},
    }


async def post(
    stage: Stage, up: Up, body: object, *, token: str | None = None, authorization: str | None = None
) -> Reply:
    """Send a callback as the carrier would, or not quite."""
    token = await token_of(stage, up) if token is None else token
    authorization = up.authorization if authorization is None else authorization
    api = Api(stage.functions, **({"Authorization": authorization} if authorization else {}))
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    query = {"token": token} if token else {}
    return await api.send("POST", f"/webhooks/acs/{up.session_id}", data=data, query=query)


async def test_forged_copies_of_callbacks_are_refused_and_the_genuine_ones_have_their_effect(
    stage: Stage,
) -> None:
    for event_name, token in (
        ("CallConnected", "wrong_key"),
        ("ParticipantsUpdated", "expired"),
        ("MediaStreamingStarted", "wrong_audience"),
        ("MediaStreamingStopped", "garbage"),
        ("CallDisconnected", "wrong_issuer"),
    ):
        await stage.line.fault("callback_forged", event=event_name, token=token)
    up = await inbound(stage)
    await stage.line.on(up.call_id, "hang-up")
    await stage.becomes(up.session_id, SessionState.ARCHIVED)
    await stage.line.told(up.call_id, "CallDisconnected")
    forged = await stage.line.events(up.call_id, "forged_callback")
    assert [each["answers"] for each in forged] == [[401]] * 5
    kinds = await stage.kinds(up.session_id)
    assert len(kinds) == len(set(kinds)), kinds


async def test_both_tokens_are_needed_and_each_must_be_of_this_call(stage: Stage) -> None:
    up, other = await inbound(stage), await inbound(stage)
    body = [event("CallDisconnected", up.call_id)]
    client_token = stage.ring.issue_client_token(up.session_id, 60)
    media_token = stage.ring.issue_media_token(up.session_id, 60)
    expired = stage.ring.issue_callback_token(up.session_id, -60)
    for token, problem in (
        ("", (401, "callback_token_invalid")),
        ("x", (401, "callback_token_invalid")),
        (client_token, (401, "callback_token_invalid")),
        (media_token, (401, "callback_token_invalid")),
        (expired, (401, "callback_token_expired")),
        (await token_of(stage, other), (403, "callback_token_other_session")),
    ):
        assert (await post(stage, up, body, token=token)).problem() == problem
    for authorization, code in (
        ("", "carrier_token_missing"),
        ("Basic YTpi", "carrier_token_missing"),
        (f"Bearer {client_token}", "carrier_token_invalid"),
        (up.authorization[:-6] + "AAAAAA", "carrier_token_invalid"),
    ):
        assert (await post(stage, up, body, authorization=authorization)).problem() == (401, code)
    assert (await stage.store.get(up.session_id)).live, "nothing of it had an effect"


async def test_an_unknown_session_is_told_so_and_a_call_that_it_would_have_is_hung_up(stage: Stage) -> None:
    up = await inbound(stage)
    token = await token_of(stage, up)
    await stage.store.erase(up.session_id)  # behind the app's back: the call goes on
    reply = await post(stage, up, [event("CallConnected", up.call_id)], token=token)
    assert reply.problem() == (404, "session_not_found")
    await stage.line.becomes(up.call_id, "ended")
    assert stage.logged("call_without_session_hung_up", call_id=up.call_id)
    nobody = Up(up.call_id, new_session_id(), up.authorization)
    token = stage.ring.issue_callback_token(nobody.session_id, 60)
    reply = await post(stage, nobody, [event("MediaStreamingStopped", up.call_id)], token=token)
    assert reply.problem() == (404, "session_not_found")


async def test_what_is_no_callback_is_refused(stage: Stage) -> None:
    up = await inbound(stage)
    for body in (b"", b"null", b"7", b'"text"', b"{", b"\xff\xfe", b"[" * 5000):
        assert (await post(stage, up, body)).problem() == (400, "invalid_json"), body


async def test_a_batch_is_taken_whatever_is_in_it(stage: Stage) -> None:
    up = await inbound(stage)
    batch: list[object] = [
        None,
        {"type": "Microsoft.Communication.CallConnected"},
        {"id": "1", "type": 7, "data": {}},
        event("PlayStarted", up.call_id),
        event("WhatNobodyKnows", up.call_id, participants="none"),
        event("ParticipantsUpdated", up.call_id, participants=[{}, {}]),
        event("RecordingStateChanged", up.call_id, recordingId="rec-1", state="active"),
    ]
    assert (await post(stage, up, batch)).status == 200
    events = await stage.events(up.session_id)
    recording = next(each for each in events if each.event is Kind.RECORDING_CHANGED)
    assert (recording.operation_id, recording.detail) == ("rec-1", "active")
    assert [each.detail for each in events if each.event is Kind.PARTICIPANTS_CHANGED][-1] == "2"
    assert await stage.record("callback_unreadable", session_id=up.session_id)
    assert (await post(stage, up, event("PlayFailed", up.call_id))).status == 200, "one event, no array"
    assert Kind.PLAY_FAILED in await stage.kinds(up.session_id)
    too_large = [event("PlayFailed", up.call_id, padding="x" * 70_000)]
    assert (await post(stage, up, too_large)).problem() == (413, "body_too_large")


async def test_an_event_that_comes_again_has_its_effect_once(stage: Stage) -> None:
    await stage.line.fault("callback_duplicate", event="*", times=20)
    up = await inbound(stage, talking=True)
    failed = event("CallTransferFailed", up.call_id, operationContext="op_1")
    failed["data"]["resultInformation"] = {"code": 486, "subCode": 560486}
    for _ in range(3):
        assert (await post(stage, up, [failed, failed])).status == 200
    (told,) = await stage.inbox(up.session_id)
    assert isinstance(told, Tell)
    assert told.text.startswith("The transfer failed: the line is busy.")
    kinds = await stage.kinds(up.session_id)
    assert kinds.count(Kind.CONNECTED) == kinds.count(Kind.TRANSFER_FAILED) == 1
    (noted,) = [each for each in await stage.events(up.session_id) if each.event is Kind.TRANSFER_FAILED]
    assert (noted.detail, noted.code, noted.sub_code, noted.operation_id) == ("busy", 486, 560486, "op_1")


async def test_events_in_another_order_come_to_the_same(stage: Stage) -> None:
    for kind in ("callback_reorder", "callback_batch"):
        await stage.line.fault(kind, event="CallConnected")
        up = await inbound(stage)
        assert (await stage.session_of(up.call_id)).answered_at_ms
        await stage.line.on(up.call_id, "hang-up")
        session = await stage.becomes(up.session_id, SessionState.ARCHIVED)
        assert session.end_reason == "caller_hung_up"
        late = await post(stage, up, [event("CallConnected", up.call_id)])
        assert late.status == 200
        assert (await stage.store.get(up.session_id)).end_reason == "caller_hung_up"


async def test_the_worker_closes_the_books_of_a_conversation(stage: Stage) -> None:
    up = await inbound(stage, talking=True)
    await stage.line.on(up.call_id, "hang-up")
    await stage.line.told(up.call_id, "CallDisconnected")
    assert await stage.inbox(up.session_id) == [EndCall(reason="caller_hung_up")]
    assert (await stage.store.get(up.session_id)).state is SessionState.ACTIVE


async def test_a_session_has_one_call_and_no_other_is_taken_for_it(stage: Stage) -> None:
    up, other = await inbound(stage), await inbound(stage)
    reply = await post(stage, up, [event("CallConnected", other.call_id)])
    assert reply.problem() == (409, "call_of_another_session")
    assert (await stage.line.call(other.call_id))["state"] == "connected", "its own session has it"
    nobodys = event("CallConnected", "9b1f0a8e-0000-4000-8000-000000000000")
    assert (await post(stage, up, [nobodys])).problem() == (409, "call_already_reported")
    assert stage.logged("call_without_session_hung_up", call_id=nobodys["data"]["callConnectionId"])
    assert (await stage.session_of(up.call_id)).live
