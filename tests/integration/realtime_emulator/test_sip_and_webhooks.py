"""Incoming SIP calls: signed webhooks, accept, reject, refer, hang-up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import openai
import pytest
import websockets
from aiohttp import web

from tests.support.eventually import eventually
from tests.support.realtime_emulator import FAST, SESSION, RunningEmulator, running_emulator


class Receiver:
    """A webhook endpoint; it answers with `statuses` one after the other, then 200."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, dict[str, str]]] = []
        self.statuses: list[int] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.received.append((await request.read(), dict(request.headers)))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def emulator() -> AsyncIterator[RunningEmulator]:
    async with running_emulator(FAST, webhook_first_delay=0.01, webhook_attempts=3) as running:
        yield running


async def _register(emulator: RunningEmulator, receiver: Receiver) -> dict[str, str]:
    async with emulator.http.post(
        f"{emulator.url}/openai/v1/dashboard/webhook_endpoints",
        json={"name": "test", "url": receiver.url, "event_types": ["realtime.call.incoming"]},
        headers={"api-key": "test-key"},
    ) as answer:
        assert answer.status == 200
        return await answer.json()


async def _ring(emulator: RunningEmulator, **options: object) -> str:
    return str((await emulator.emu("POST", "incoming-sip", {"from": "+15550123", **options}))["call_id"])


async def test_the_webhook_verifies_with_the_sdk_and_comes_again_until_it_is_taken(
    emulator: RunningEmulator, receiver: Receiver
) -> None:
    endpoint = await _register(emulator, receiver)
    receiver.statuses = [500, 302]
    call_id = await _ring(emulator, duplicates=1)
    await eventually(lambda: len(receiver.received) == 4, what="two failures, their repeats, no more")
    ids = {headers["webhook-id"] for _, headers in receiver.received}
    assert len(ids) == 1, "retries and duplicates carry the same id"
    body, headers = receiver.received[-1]
    event = emulator.client.webhooks.unwrap(body, headers, secret=endpoint["signing_secret"])
    assert event.type == "realtime.call.incoming"
    assert event.data.call_id == call_id
    assert "+15550123" in event.data.sip_headers[0].value
    with pytest.raises(openai.InvalidWebhookSignatureError):
        emulator.client.webhooks.unwrap(body + b" ", headers, secret=endpoint["signing_secret"])
    shown = await emulator.emu("GET", f"calls/{call_id}")
    attempts = [delivery["attempts"] for delivery in shown["webhook_deliveries"]]  # type: ignore[union-attr,index]
    assert sorted(status for tries in attempts for status in tries) == [200, 200, 302, 500]


async def test_webhook_endpoints_are_managed_as_in_the_api(
    emulator: RunningEmulator, receiver: Receiver
) -> None:
    created = await _register(emulator, receiver)
    base = f"{emulator.url}/openai/v1/dashboard/webhook_endpoints"
    headers = {"api-key": "test-key"}
    async with emulator.http.get(base, headers=headers) as answer:
        (listed,) = (await answer.json())["data"]
    assert listed["id"] == created["id"]
    assert "signing_secret" not in listed
    assert listed["signing_secret_hint"].endswith(created["signing_secret"][-4:])
    async with emulator.http.post(f"{base}/{created['id']}", json={"name": "new"}, headers=headers) as answer:
        assert (await answer.json())["name"] == "new"
    async with emulator.http.delete(f"{base}/{created['id']}", headers=headers) as answer:
        assert (await answer.json())["deleted"] is True
    async with emulator.http.get(f"{base}/{created['id']}", headers=headers) as answer:
        assert answer.status == 404
    async with emulator.http.post(base, json={"name": "x", "url": "ftp://x"}, headers=headers) as answer:
        assert answer.status == 400


async def test_an_accepted_call_lives_until_it_is_hung_up(emulator: RunningEmulator) -> None:
    calls = emulator.client.realtime.calls
    call_id = await _ring(emulator)
    with pytest.raises(websockets.InvalidStatus):
        async with emulator.client.realtime.connect(call_id=call_id):
            pass
    pcmu = {"format": {"type": "audio/pcmu"}}
    accepted: dict[str, object] = {
        **SESSION,
        "audio": {"input": {**pcmu, "transcription": {"model": "whisper-1"}}, "output": pcmu},
    }
    await calls.accept(call_id, **accepted)  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError) as again:
        await calls.accept(call_id, **accepted)  # type: ignore[arg-type]
    assert again.value.code == "call_already_accepted"
    seen: list[str] = []
    async with emulator.client.realtime.connect(call_id=call_id) as connection:
        saying = asyncio.create_task(emulator.say(call_id, "What is the status of my claim?"))
        async for event in connection:
            seen.append(event.type)
            if event.type == "output_audio_buffer.stopped":
                await emulator.emu("POST", f"calls/{call_id}/dtmf", {"digits": "1#"})
            if seen.count("input_audio_buffer.dtmf_event_received") == 2:
                break
        await saying
        await calls.hangup(call_id)
        assert [event.type async for event in connection] == []
    assert seen[0] == "session.created"
    with pytest.raises(openai.NotFoundError) as gone:
        await calls.hangup(call_id)
    assert gone.value.code == "call_id_not_found"


async def test_reject_and_refer(emulator: RunningEmulator) -> None:
    calls = emulator.client.realtime.calls
    busy, declined, referred = [await _ring(emulator) for _ in range(3)]
    await calls.reject(busy, status_code=486)
    await calls.reject(declined)
    with pytest.raises(openai.BadRequestError):
        await calls.refer(referred, target_uri="tel:+15550123")
    await calls.accept(referred, type="realtime", model="m", instructions="x")
    with pytest.raises(openai.BadRequestError):
        await calls.refer(referred, target_uri="mailto:x@example.com")
    await calls.refer(referred, target_uri="tel:+15550123")
    shown = [await emulator.emu("GET", f"calls/{call_id}") for call_id in (busy, declined, referred)]
    assert [call["reject_status"] for call in shown] == [486, 603, None]
    assert shown[2]["refer_target"] == "tel:+15550123"
    assert {call["state"] for call in shown} == {"ended"}
    for call_id in (busy, "rtc_unknown"):
        with pytest.raises(openai.NotFoundError):
            await calls.accept(call_id, type="realtime", model="m")


async def test_what_accept_refuses_leaves_the_call_ringing(emulator: RunningEmulator) -> None:
    call_id = await _ring(emulator)
    tuned = {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.9}}}
    with pytest.raises(openai.BadRequestError) as refused:
        await emulator.client.realtime.calls.accept(call_id, type="realtime", model="m", audio=tuned)  # type: ignore[arg-type]
    assert "SIP" in refused.value.message
    assert (await emulator.emu("GET", f"calls/{call_id}"))["state"] == "ringing"


async def test_nobody_answers() -> None:
    async with running_emulator(FAST, ring_seconds=0.05) as emulator:
        call_id = await _ring(emulator)
        await eventually(lambda: emulator.server.service.calls.find(call_id).state == "ended")
        with pytest.raises(openai.NotFoundError):
            await emulator.client.realtime.calls.accept(call_id, type="realtime", model="m")


async def test_accept_says_ok_and_the_call_dies(emulator: RunningEmulator) -> None:
    await emulator.fault(kind="accept_dies")
    call_id = await _ring(emulator)
    await emulator.client.realtime.calls.accept(call_id, type="realtime", model="m")
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with emulator.client.realtime.connect(call_id=call_id):
            pass
    error = json.loads(refused.value.response.body or b"{}")["error"]
    assert error == {
        "message": "No session found for the provided call_id",
        "type": "invalid_request_error",
        "param": "",
        "code": "call_id_not_found",
    }
