"""The carrier's adapter through the official SDK: its credential, its patience, and its failures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from shared.errors import SidetoneError
from shared.ids import new_session_id
from shared.session.model import Session, SessionState, Transport
from shared.telephony.acs.carrier import AcsAccount, AcsCarrier, CallAddresses
from shared.telephony.outbound import Target
from shared.telephony.recording import Recording
from tests.integration.telephony.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")
ANN = Target(address="+15550100")


def a_session() -> Session:
    return Session(
        session_id=new_session_id(),
        state=SessionState.CREATED,
        transport=Transport.ACS,
        agent="plain",
        agent_version="",
        principal="p",
        created_at_ms=0,
        direction="outbound",
    )


def addresses(session: Session) -> CallAddresses:
    return CallAddresses(callback_url="http://127.0.0.1:9/", media_url="ws://127.0.0.1:9/")


def carrier_at(url: str, key: str, timeout_s: float = 5.0) -> AcsCarrier:
    account = AcsAccount(endpoint=url, key=key, phone_number="+15550199")
    return AcsCarrier(account, addresses, timeout_s=timeout_s)


async def failure(carrier: AcsCarrier) -> SidetoneError:
    try:
        with pytest.raises(SidetoneError) as caught:
            await carrier.place(a_session(), ANN, "+15550199")
        assert "15550100" not in str(caught.value)
        return caught.value
    finally:
        await carrier.close()


@pytest_asyncio.fixture(loop_scope="session")
async def carrier(stage: Stage) -> AsyncIterator[AcsCarrier]:
    carrier = carrier_at(stage.stack.acs_url + "/", stage.stack.acs_key, timeout_s=0.3)
    await carrier.warm_up()
    yield carrier
    await carrier.close()
    await carrier.close()


async def test_endpoint_and_key_are_enough_with_a_slash_too(carrier: AcsCarrier, stage: Stage) -> None:
    session = a_session()
    call_id = await carrier.place(session, ANN, "+15550199")
    assert (await stage.line.call(call_id))["to"] == "+15550100"
    assert await carrier.place(session, ANN, "+15550199") == call_id, "once for each session"
    assert await carrier.place(a_session(), ANN, "+15550199") != call_id
    assert await carrier.hang_up(call_id)
    await stage.line.becomes(call_id, "ended")
    assert not await carrier.hang_up(call_id)
    assert not await carrier.hang_up("8d6f5e57-0000-4000-8000-000000000000")


async def test_an_answer_that_takes_too_long_may_have_had_its_effect(
    carrier: AcsCarrier, stage: Stage
) -> None:
    await stage.line.fault("http", operation="create", ms=5000, times=3, status=500)
    began = time.monotonic()
    with pytest.raises(SidetoneError) as caught:
        await carrier.place(a_session(), ANN, "+15550199")
    assert (caught.value.code, caught.value.retryable) == ("carrier_unavailable", True)
    assert time.monotonic() - began < 4.5


async def test_where_nobody_listens_nothing_was_sent() -> None:
    error = await failure(carrier_at("http://127.0.0.1:9", "a2V5"))
    assert (error.code, error.retryable) == ("carrier_unreachable", True)


async def test_a_wrong_key_is_told(stage: Stage) -> None:
    error = await failure(carrier_at(stage.stack.acs_url, "d3Jvbmc="))
    assert (error.code, error.retryable) == ("carrier_unauthorized", False)
    assert "ACS_CONNECTION_STRING" in error.detail


@pytest.mark.parametrize(("status", "text"), [(200, "<html>"), (200, "{}"), (201, "not json"), (302, "")])
async def test_what_is_not_the_service_is_told(status: int, text: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        headers = {"Location": "http://127.0.0.1:9/"} if status == 302 else {}
        return web.Response(status=status, text=text, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        error = await failure(carrier_at(f"http://127.0.0.1:{runner.addresses[0][1]}", "a2V5"))
    finally:
        await runner.cleanup()
    assert error.code in ("carrier_rejected", "carrier_unreachable")


async def test_many_first_requests_make_one_client(stage: Stage) -> None:
    carrier = carrier_at(stage.stack.acs_url, stage.stack.acs_key)
    calls = await asyncio.gather(*(carrier.place(a_session(), ANN, "+15550199") for _ in range(5)))
    assert len(set(calls)) == 5
    assert all(await asyncio.gather(*map(carrier.hang_up, calls)))
    await carrier.close()


async def test_a_recording_begins_pauses_goes_on_and_ends(carrier: AcsCarrier, stage: Stage) -> None:
    session = a_session()
    call_id = await carrier.place(session, ANN, "+15550199")
    await stage.line.becomes(call_id, "connected")
    leg = carrier.leg(Session(**{**vars(session), "call_id": call_id}))
    recording = await leg.start_recording("op_1", Recording())
    for _ in range(2):  # as when the first answer was lost
        assert await leg.pause_recording(recording)
    for _ in range(2):
        assert await leg.resume_recording(recording)
    assert await leg.stop_recording(recording)
    assert not await leg.stop_recording("nobody-knows-it")
    assert not await leg.pause_recording(recording)
    assert not await leg.resume_recording("nobody-knows-it")
    assert await leg.hang_up()


async def test_recordings_go_to_the_container_that_is_set() -> None:
    asked: list[dict[str, object]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({"recordingId": "r1", "recordingState": "active"})

    app = web.Application()
    app.router.add_post("/calling/recordings", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    container = "https://files.blob.core.windows.net/recordings"
    endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    account = AcsAccount(endpoint=endpoint, key="a2V5", recording_container=container)
    carrier = AcsCarrier(account, addresses)
    try:
        leg = carrier.leg(Session(**{**vars(a_session()), "call_id": "c1"}))
        assert await leg.start_recording("op_1", Recording(channels="mixed", format="mp3")) == "r1"
    finally:
        await carrier.close()
        await runner.cleanup()
    (body,) = asked
    assert (body["recordingChannelType"], body["recordingFormatType"]) == ("mixed", "mp3")
    storage = body["externalStorage"]
    assert isinstance(storage, dict)
    assert storage["recordingDestinationContainerUrl"] == container
