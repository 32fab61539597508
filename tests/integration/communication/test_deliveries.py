"""Callbacks and Event Grid: order, tokens, repeats, and everything that may go wrong with them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import jwt
import pytest
from azure.communication.callautomation import TextSource
from azure.communication.callautomation.aio import CallAutomationClient

from tests.integration.communication.application import Application
from tests.integration.communication.conftest import Phone, RunningEmulator
from tests.integration.communication.test_calls import answered
from tests.support.eventually import eventually


async def test_callbacks_come_again_until_they_are_taken(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    app.statuses = [500, 503]
    call_id, _ = await answered(phone, app, sdk)
    await phone.on(call_id, "hang-up")
    await app.callback("CallDisconnected")
    assert app.names() == ["CallConnected", "ParticipantsUpdated", "CallDisconnected"]

    async def recorded() -> bool:
        return len(await phone.events(call_id, "callback")) == 3

    await eventually(recorded)
    events = await phone.events(call_id, "callback")
    assert [event["answers"] for event in events] == [[500, 503, 200], [200], [200]]


async def test_callbacks_are_duplicated_dropped_and_reordered(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    await phone.fault(kind="callback_duplicate", event="CallConnected", target="next")
    await phone.fault(kind="callback_drop", event="ParticipantsUpdated")
    await phone.fault(kind="callback_reorder", event="PlayStarted")
    call_id, connection = await answered(phone, app, sdk)
    await connection.play_media(TextSource(text="x"))
    await app.callback("PlayStarted")
    assert app.names() == ["CallConnected", "CallConnected", "PlayCompleted", "PlayStarted"]
    assert app.callbacks[0]["id"] == app.callbacks[1]["id"]
    assert len(set(app.tokens)) == 4
    await phone.on(call_id, "hang-up")


async def test_an_event_held_back_comes_when_nothing_overtakes_it(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    await phone.fault(kind="callback_reorder", event="ParticipantsUpdated")
    call_id, _ = await answered(phone, app, sdk)
    await app.callback("ParticipantsUpdated")
    await phone.on(call_id, "hang-up")


async def test_callbacks_come_in_batches_and_late(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    await phone.fault(kind="callback_batch", event="CallConnected")
    await phone.fault(kind="callback_delay", event="ParticipantsUpdated", ms=50)
    call_id, _ = await answered(phone, app, sdk)
    await app.callback("ParticipantsUpdated")
    assert len(app.tokens) == 1, "both came in one request"
    await phone.on(call_id, "hang-up")


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ("wrong_key", jwt.InvalidSignatureError),
        ("expired", jwt.ExpiredSignatureError),
        ("wrong_audience", jwt.InvalidAudienceError),
        ("wrong_issuer", jwt.InvalidIssuerError),
        ("missing", AssertionError),
        ("garbage", jwt.DecodeError),
    ],
)
async def test_a_forged_callback_comes_before_the_genuine_one(
    phone: Phone, app: Application, sdk: CallAutomationClient, token: str, error: type[Exception]
) -> None:
    await phone.fault(kind="callback_forged", event="CallConnected", token=token)
    call_id, _ = await answered(phone, app, sdk)
    assert app.refused == [(error.__name__, ["Microsoft.Communication.CallConnected"])]
    await phone.on(call_id, "hang-up")


async def test_keys_rotate(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    call_id, _ = await answered(phone, app, sdk)
    old = jwt.get_unverified_header(app.tokens[0].partition(" ")[2])["kid"]
    new = (await phone.ask("POST", "keys/rotate", {}))["kid"]
    await phone.on(call_id, "hang-up")
    await app.callback("CallDisconnected")
    assert jwt.get_unverified_header(app.tokens[-1].partition(" ")[2])["kid"] == new != old
    assert not app.refused


@pytest.fixture
async def subscribed(phone: Phone, app: Application) -> AsyncIterator[str]:
    """The application's Event Grid subscription, validated."""
    name = "validated-one"
    await phone.ask("POST", "event-grid/subscriptions", {"url": f"{app.url}/events", "name": name})
    await state_of(phone, name, "validated")
    yield name
    await phone.ask("DELETE", f"event-grid/subscriptions/{name}")


async def state_of(phone: Phone, name: str, state: str) -> None:
    async def reached() -> bool:
        subscriptions = (await phone.ask("GET", "event-grid"))["subscriptions"]
        return any(one["name"] == name and one["state"] == state for one in subscriptions)

    await eventually(reached, within=5, what=f"{name} {state}")


async def test_the_handshake_and_an_incoming_call(phone: Phone, app: Application, subscribed: str) -> None:
    headers, (event,) = app.deliveries[0]
    assert headers["aeg-event-type"] == "SubscriptionValidation"
    assert event["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent"
    call = await phone.ring(**{"from": "+15550123", "sip_headers": {"X-MS-Custom-tenant": "7"}})
    await eventually(lambda: len(app.deliveries) == 2)
    headers, (event,) = app.deliveries[1]
    assert headers["aeg-event-type"] == "Notification"
    assert headers["aeg-subscription-name"] == "VALIDATED-ONE"
    assert headers["aeg-delivery-count"] == "0"
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert event["eventType"] == "Microsoft.Communication.IncomingCall"
    assert event["subject"] == "/phoneCall/caller/4:+15550123/recipient/4:+15550199"
    assert event["data"]["from"] == {
        "kind": "phoneNumber",
        "rawId": "4:+15550123",
        "phoneNumber": {"value": "+15550123"},
    }
    assert event["data"]["customContext"]["sipHeaders"] == {"X-MS-Custom-tenant": "7"}
    for name in ("server_call_id", "correlation_id", "incoming_call_context"):
        camel = name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:])
        assert event["data"][camel] == call[name]
    await phone.on(call["id"], "hang-up")


async def test_events_come_again_with_a_count_and_not_after_a_400(
    phone: Phone, app: Application, subscribed: str
) -> None:
    app.statuses = [500, 429]
    await phone.ring()
    await eventually(lambda: len(app.deliveries) == 4)
    tries = app.deliveries[1:]
    assert [headers["aeg-delivery-count"] for headers, _ in tries] == ["0", "1", "2"]
    assert len({body[0]["id"] for _, body in tries}) == 1
    app.statuses = [400]
    await phone.ring()

    async def dropped() -> bool:
        deliveries = (await phone.ask("GET", "event-grid"))["deliveries"]
        return deliveries[-1]["state"] == "dropped" and deliveries[-1]["attempts"] == [400]

    await eventually(dropped)


async def test_duplicates_and_batches(phone: Phone, app: Application, subscribed: str) -> None:
    poison = {"type": "Microsoft.Communication.IncomingCall", "data": {"from": 7}}
    await phone.ring(duplicates=2, batch_with=[poison])
    await eventually(lambda: len(app.deliveries) == 4)
    batches = [body for _, body in app.deliveries[1:]]
    assert [len(batch) for batch in batches] == [2, 2, 2]
    assert batches[0][0]["data"] == {"from": 7}
    assert len({batch[1]["id"] for batch in batches}) == 1
    await phone.fault(kind="event_grid_duplicate")
    await phone.fault(kind="event_grid_delay", ms=20)
    await phone.ask("POST", "event-grid/events", {"events": [poison]})
    await eventually(lambda: len(app.deliveries) == 6)
    await phone.fault(kind="event_grid_drop")
    assert (await phone.ask("POST", "event-grid/events", {"events": [poison]}))["deliveries"] == []


async def test_cloud_events(phone: Phone, app: Application) -> None:
    body = {"url": f"{app.url}/events", "name": "cloud", "schema": "cloudevents"}
    await phone.ask("POST", "event-grid/subscriptions", body)
    await phone.ask("POST", "event-grid/subscriptions", body, status=409)
    await state_of(phone, "cloud", "validated")
    headers, _ = app.deliveries[0]
    assert headers["WebHook-Request-Origin"] == "eventgrid.azure.net"
    call = await phone.ring(**{"from": "8:acs:resource_user"})
    await eventually(lambda: len(app.deliveries) == 2)
    headers, event = app.deliveries[1]
    assert headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert (event["specversion"], event["type"]) == ("1.0", "Microsoft.Communication.IncomingCall")
    assert event["data"]["from"]["communicationUser"] == {"id": "8:acs:resource_user"}
    assert event["data"]["incomingCallContext"] == call["incoming_call_context"]
    await phone.ask("DELETE", "event-grid/subscriptions/cloud")


async def test_a_subscriber_that_is_not_ready_gets_its_events_later(phone: Phone, app: Application) -> None:
    """202 to the handshake is a failure; a GET of the validation URL is as good as an answer."""
    app.statuses = [202, 202]
    await phone.ask("POST", "event-grid/subscriptions", {"url": f"{app.url}/events", "name": "late"})
    call = await phone.ring()
    await state_of(phone, "late", "validated")
    await eventually(lambda: len(app.deliveries) == 4)
    assert app.deliveries[3][1][0]["data"]["correlationId"] == call["correlation_id"]
    await phone.ask("DELETE", "event-grid/subscriptions/late")

    app.deliveries.clear()
    app.statuses = [200] * 100
    await phone.ask("POST", "event-grid/subscriptions", {"url": f"{app.url}/events", "name": "by-url"})
    await eventually(lambda: app.deliveries)
    validation_url = app.deliveries[0][1][0]["data"]["validationUrl"]
    async with aiohttp.ClientSession() as http:
        async with http.get(validation_url + "x") as refused:
            assert refused.status == 404
        async with http.get(validation_url) as answer:
            assert answer.status == 200
    await state_of(phone, "by-url", "validated")
    await phone.ask("DELETE", "event-grid/subscriptions/by-url")


async def test_bad_requests_to_the_admin_side(emulator_process: RunningEmulator, phone: Phone) -> None:
    for path, body in (
        ("ring", {"form": "+15550100"}),
        ("ring", {"from": "nobody"}),
        ("faults", {"kind": "earthquake"}),
        ("faults", {"faults": [{"kind": "http", "tims": 2}]}),
        ("phones", {"number": "+15550100", "outcome": "explode"}),
        ("event-grid/events", {"events": []}),
    ):
        refused = await phone.ask("POST", path, body, status=400)
        assert refused["error"]["code"] == "8523"
    await phone.ask("POST", "faults", {"kind": "callee", "target": "nobody"}, status=404)
    call = await phone.ring()
    await phone.ask("POST", f"calls/{call['id']}/say", {"tone_ms": 100}, status=409)
    await phone.ask("POST", f"calls/{call['id']}/phone", {}, status=409)
    await phone.ask("POST", f"calls/{call['id']}/media/drop", {}, status=409)
    await phone.ask("GET", f"calls/{call['id']}/transcript", status=409)
    assert (await phone.ask("GET", "health"))["status"] == "ok"
    await phone.on(call["id"], "hang-up")
    await phone.state(call["id"], "ended")
