"""The Event Grid webhook, in both schemas."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.support.functions_host import Answer, HostClient

PATH = "/runtime/webhooks/eventgrid"


def event(event_id: str, **data: object) -> dict[str, object]:
    return {
        "id": event_id,
        "topic": "/subscriptions/s",
        "subject": "calls/1",
        "eventType": "Sample.Happened",
        "eventTime": "2026-11-21T12:00:00.1234567Z",
        "data": data,
        "dataVersion": "1.0",
    }


async def deliver(
    client: HostClient, body: object, kind: str = "Notification", function: str = "on_event"
) -> Answer:
    headers = {"aeg-event-type": kind} if kind else {}
    return await client.ask("POST", PATH, params={"functionName": function}, json=body, headers=headers)


async def test_handshake(client: HostClient) -> None:
    code = {"validationCode": "C-1", "validationUrl": "https://example.org"}
    answer = await deliver(client, [event("1", **code)], "SubscriptionValidation")
    assert (answer.status, answer.json()) == (200, {"validationResponse": "C-1"})
    single = {**event("1"), "data": json.dumps(code)}
    assert (await deliver(client, single, "SubscriptionValidation")).json() == {"validationResponse": "C-1"}


async def test_one_invocation_an_event(client: HostClient) -> None:
    ids = [uuid.uuid4().hex for _ in range(3)]
    answer = await deliver(client, [event(i, n=1) for i in ids])
    assert (answer.status, answer.text) == (202, "")
    for event_id in ids:
        assert client.host.journal_lines().count(f'event {event_id} Sample.Happened {{"n": 1}}') == 1


async def test_a_single_object_is_a_batch_of_one(client: HostClient) -> None:
    event_id = uuid.uuid4().hex
    assert (await deliver(client, event(event_id))).status == 202
    assert any(event_id in line for line in client.host.journal_lines())


async def test_one_failure_refuses_the_whole_batch_after_all_have_run(client: HostClient) -> None:
    good, bad = uuid.uuid4().hex, uuid.uuid4().hex
    answer = await deliver(client, [event(bad, fail=True), event(good)])
    assert answer.status == 500
    assert all(any(i in line for line in client.host.journal_lines()) for i in (good, bad))


async def test_cloud_events(client: HostClient) -> None:
    event_id = uuid.uuid4().hex
    cloud = {"specversion": "1.0", "id": event_id, "source": "/calls", "type": "Call.Ended", "data": {}}
    assert (await deliver(client, [cloud], function="on_cloud_event")).status == 202
    assert f"cloud event {event_id} Call.Ended /calls" in client.host.journal_lines()
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net"}
    handshake = await client.ask("OPTIONS", PATH, params={"functionName": "on_cloud_event"}, headers=headers)
    assert (handshake.status, handshake.headers["Webhook-Allowed-Origin"]) == (200, "eventgrid.azure.net")


@pytest.mark.parametrize(
    ("kind", "function", "body", "status", "text"),
    [
        ("Notification", "nope", [], 404, "cannot find function: 'nope'"),
        ("Notification", "ping", [], 404, "cannot find function: 'ping'"),
        ("", "on_event", [], 400, ""),
        ("Other", "on_event", [], 400, ""),
        ("Unsubscribe", "on_event", [], 202, ""),
        ("Notification", "on_event", [1], 400, "every event must be a JSON object"),
        ("SubscriptionValidation", "on_event", [{"data": {}}], 400, "validationCode"),
        ("SubscriptionValidation", "on_event", [], 400, ""),
    ],
)
async def test_what_is_not_a_delivery(
    client: HostClient, kind: str, function: str, body: object, status: int, text: str
) -> None:
    answer = await deliver(client, body, kind, function)
    assert answer.status == status
    assert text in answer.text
