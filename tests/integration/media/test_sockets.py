"""Media sockets come, go, come again, and must be the right ones."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable

import aiohttp
import pytest
import redis.asyncio

from realtime_worker.media import carrier_socket
from shared.errors import NotFoundError
from shared.session.log import Attached, CallEvent, CallEventKind
from shared.session.model import EndReason, Session, SessionState, Transport
from tests.integration.media.in_process import Worker, working
from tests.integration.media.test_audio import noise, sound
from tests.support.acs_signer import AcsSigner, unsigned
from tests.support.echo_service import EchoService
from tests.support.eventually import eventually
from tests.support.phone_caller import media_url

FRAME = noise(1)[0]


async def refused(url: str, headers: dict[str, str]) -> tuple[int, str]:
    """Return status and code of a handshake that must not succeed."""
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(url, headers=headers)
        async with http.get(url.replace("ws://", "http://"), headers={**_UPGRADE, **headers}) as answer:
            assert answer.status == caught.value.status
            assert answer.content_type == "application/problem+json"
            return answer.status, (await answer.json())["code"]


_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def test_forged_tokens_open_nothing(worker: Worker, service: EchoService) -> None:
    session_id, other = await worker.session(), await worker.session()
    good, url = {"Authorization": worker.signer.header()}, worker.url(session_id)
    somebody_elses = worker.url(other).replace(other, session_id)
    expired = media_url(worker.base, session_id, worker.keys, ttl_s=-60)
    tokenless = url.partition("&token=")[0]
    cases: list[tuple[str, dict[str, str], tuple[int, str]]] = [
        (url, {}, (401, "carrier_token_missing")),
        (url, {"Authorization": worker.signer.header("garbage")}, (401, "carrier_token_invalid")),
        (url, {"Authorization": worker.signer.header("wrong_key")}, (401, "carrier_token_invalid")),
        (url, {"Authorization": worker.signer.header("expired")}, (401, "carrier_token_expired")),
        (url, {"Authorization": worker.signer.header("wrong_audience")}, (401, "carrier_token_invalid")),
        (url, {"Authorization": unsigned()}, (401, "carrier_token_invalid")),
        (tokenless, good, (401, "media_token_invalid")),
        (expired, good, (401, "media_token_expired")),
        (somebody_elses, good, (403, "media_token_other_session")),
    ]
    for address, headers, told in cases:
        assert await refused(address, headers) == told
    assert service.sockets == []
    assert len(worker.roster) == 0


async def test_a_socket_for_no_session_or_one_that_is_over_or_of_another_kind_is_refused(
    worker: Worker,
) -> None:
    good = {"Authorization": worker.signer.header()}
    ended = await worker.session()
    await worker.parts.services.sessions.mark_ended(ended, EndReason.CALLER_HUNG_UP, 1)
    browser = await worker.session(transport=Transport.WEBRTC)
    named = await worker.session(call_id="call-7")
    told = [
        await refused(worker.url("ses_00000000000000000000000000"), good),
        await refused(worker.url(ended), good),
        await refused(worker.url(browser), good),
        await refused(worker.url(named), {**good, "x-ms-call-connection-id": "call-8"}),
    ]
    assert told == [
        (404, "session_not_found"),
        (409, "session_ended"),
        (409, "session_of_another_kind"),
        (403, "media_of_another_call"),
    ]


async def test_what_is_no_websocket_is_told_so(worker: Worker) -> None:
    session_id = await worker.session()
    url = worker.url(session_id).replace("ws://", "http://")
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, "websocket_expected")


async def test_a_worker_that_is_not_set_for_the_carrier_refuses_everybody(
    redis_client: redis.asyncio.Redis, service: EchoService, signer: AcsSigner
) -> None:
    async with working(redis_client, service, signer, configured=False) as worker:
        url = worker.url(await worker.session())
        assert await refused(url, {"Authorization": signer.header()}) == (503, "acs_not_configured")


async def test_a_full_worker_refuses_so_that_another_is_tried(worker: Worker) -> None:
    worker.roster.close()
    url = worker.url(await worker.session())
    assert await refused(url, {"Authorization": worker.signer.header()}) == (503, "no_room")


async def test_a_socket_that_comes_again_goes_on_in_the_same_provider_session(
    worker: Worker, service: EchoService
) -> None:
    session_id = await worker.session()
    first = await worker.dial(session_id)
    await first.speak(FRAME)
    await first.hears(1)
    first.drop()
    runner = worker.roster.runner(session_id)
    assert runner is not None
    assert runner.line is not None
    line = runner.line
    await eventually(lambda: not line.connected, what="the worker sees the loss")
    await service.audio("resp_echo", "item_echo", FRAME)
    async with await worker.dial(session_id) as second:
        await second.hears(1)
        assert second.heard == [FRAME], "what was said meanwhile is heard now"
        await second.speak(FRAME)
        await second.hears(2)
    attached = [entry for entry in await worker.parts.entries(session_id) if isinstance(entry, Attached)]
    assert len(attached) == len(service.sockets) == 1
    await first.close()


async def test_a_second_socket_takes_the_place_of_the_first(worker: Worker) -> None:
    session_id = await worker.session()
    async with await worker.dial(session_id) as first:
        await first.speak(FRAME)
        await first.hears(1)
        async with await worker.dial(session_id) as second:
            assert await first.closed() == 1000
            await second.speak(FRAME)
            await second.hears(1)


async def test_a_caller_who_does_not_come_back_has_hung_up(worker: Worker) -> None:
    session_id = await worker.session()
    async with await worker.dial(session_id):
        await worker.talking(session_id)
    await worker.parts.wait_state(session_id, SessionState.ENDED)
    session = await worker.parts.services.sessions.get(session_id)
    assert session.end_reason == EndReason.CALLER_HUNG_UP


class Leg:
    """A carrier that does what a test says when it is asked to open the socket."""

    def __init__(self, restart: Callable[[], None]) -> None:
        self._restart = restart

    async def restart_media(self) -> None:
        self._restart()


async def test_a_carrier_that_does_not_open_the_socket_by_itself_is_asked_to(
    redis_client: redis.asyncio.Redis, service: EchoService, signer: AcsSigner
) -> None:
    asked: list[str] = []

    def leg(session: Session) -> Leg:
        return Leg(lambda: asked.append(session.call_id))

    async with working(redis_client, service, signer, leg=leg, media_wait_s=1.0) as worker:  # type: ignore[arg-type]
        session_id = await worker.session(call_id="call-1")
        async with await worker.dial(session_id):
            await worker.talking(session_id)
        await eventually(lambda: asked == ["call-1"], what="the carrier is asked")
        async with await worker.dial(session_id) as again:
            await again.speak(FRAME)
            await again.hears(1)
            entries = await worker.parts.entries(session_id)
            events = [entry.event for entry in entries if isinstance(entry, CallEvent)]
            assert events == [CallEventKind.MEDIA_RESTART_ASKED]
        assert len(service.sockets) == 1


async def test_a_call_that_the_carrier_does_not_know_any_more_is_over_at_once(
    redis_client: redis.asyncio.Redis, service: EchoService, signer: AcsSigner
) -> None:
    def gone() -> None:
        raise NotFoundError("call_not_found", "There is no such call.")

    def leg(session: Session) -> Leg:
        return Leg(gone)

    async with working(redis_client, service, signer, leg=leg, media_wait_s=1.5) as worker:  # type: ignore[arg-type]
        session_id = await worker.session(call_id="call-1")
        began = time.monotonic()
        async with await worker.dial(session_id):
            await worker.talking(session_id)
        await worker.parts.wait_state(session_id, SessionState.ENDED)
        assert time.monotonic() - began < 2.9, "it is not waited for once more"


async def test_an_end_by_us_closes_the_socket_as_over_and_a_hand_over_does_not(worker: Worker) -> None:
    ended, moved = await worker.session(), await worker.session()
    async with await worker.dial(ended) as one, await worker.dial(moved) as other:
        await worker.talking(ended)
        await worker.talking(moved)
        runner = worker.roster.runner(ended)
        assert runner is not None
        runner._apply(runner._conversation.failed("test", "over", 1))
        assert await one.closed() == 1000
        worker.roster.move(moved)
        assert await other.closed() == 1012


def metadata(rate: int, channels: int) -> str:
    told = {"encoding": "PCM", "sampleRate": rate, "channels": channels}
    return json.dumps({"kind": "AudioMetadata", "audioMetadata": told})


_HUGE = "A" * 10_000_000
BAD: list[tuple[str, str | bytes, int, str]] = [
    ("not json", "what the caller said, not JSON", 1008, "malformed_media"),
    ("not an object", "[1, 2]", 1008, "malformed_media"),
    ("no kind", '{"audioData": {}}', 1008, "malformed_media"),
    ("no base64", '{"kind":"AudioData","audioData":{"data":"\\"}}"}}', 1008, "malformed_media"),
    ("binary", b"\x00\x01", 1008, "malformed_media"),
    ("wrong rate", metadata(8_000, 1), 1003, "unsupported_audio"),
    ("stereo", metadata(24_000, 2), 1003, "unsupported_audio"),
    ("huge", '{"kind":"AudioData","audioData":{"data":"' + _HUGE + '"}}', 1009, "media_message_too_big"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "code", "told"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
async def test_bad_messages_are_left_out_and_who_sends_nothing_else_is_given_up(
    worker: Worker,
    service: EchoService,
    caplog: pytest.LogCaptureFixture,
    message: str | bytes,
    code: int,
    told: str,
) -> None:
    session_id = await worker.session()
    caller = await worker.dial(session_id)
    await caller.speak(FRAME)
    await caller.hears(1)
    try:
        for number in range(carrier_socket.MAX_MALFORMED):
            if code == 1008 and number == carrier_socket.MAX_MALFORMED - 1:
                await caller.speak(FRAME)
                await caller.hears(2)
            if isinstance(message, str):
                await caller.socket.send_str(message)
            else:
                await caller.socket.send_bytes(message)
            if code != 1008:
                break
    except (ConnectionError, aiohttp.ClientError):
        pass  # closed while it still sends
    assert await caller.closed() == code
    await caller.close()
    assert sound(service.heard[0]) == sound([FRAME] * (2 if code == 1008 else 1))
    assert "caller said" not in caplog.text

    def recorded() -> list[str]:
        return [record.code for record in caplog.records if record.message == "media refused"]  # type: ignore[attr-defined]

    await eventually(lambda: recorded() == [told], what="the refusal is recorded")


async def test_what_comes_at_half_of_real_time_is_told_and_heard(
    worker: Worker,
    service: EchoService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(carrier_socket, "LOOK_EVERY_S", 0.1)
    service.echo = False
    session_id = await worker.session()
    async with await worker.dial(session_id) as caller:
        await worker.talking(session_id)
        spoken = 0

        async def told() -> bool:
            nonlocal spoken
            await caller.speak(FRAME)
            spoken += 1
            await asyncio.sleep(0.04)  # for 20 ms of sound; later on a busy machine, never earlier
            return "media off pace" in caplog.text

        await eventually(told, what="that is too slow")
        await eventually(lambda: len(service.heard[0]) == spoken, what="all of it is heard")
        assert "media left out" not in caplog.text


async def test_what_runs_far_ahead_of_time_is_left_out(
    worker: Worker,
    service: EchoService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(carrier_socket, "LOOK_EVERY_S", 0.05)
    caplog.set_level(logging.INFO)
    service.echo = False
    session_id = await worker.session()
    async with await worker.dial(session_id) as caller:
        await worker.talking(session_id)
        for _ in range(4 * 50):
            await caller.speak(FRAME)
        await eventually(lambda: len(service.heard[0]) == 200, what="four seconds at once are heard")
        await eventually(lambda: "media left out" in caplog.text, what="that is too fast")
        for _ in range(10):
            await caller.speak(FRAME)
    await eventually(lambda: "media socket closed" in caplog.text, what="the socket's end is recorded")
    (closed,) = [record for record in caplog.records if record.message == "media socket closed"]
    assert closed.left_out_ms == 200  # type: ignore[attr-defined]
    assert len(service.heard[0]) == 200
