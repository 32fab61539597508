"""Phone calls by SIP: the app in the local host, a real Redis, and a realtime service that rings."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from shared.security.tokens import TokenRing
from shared.session.commands import ToolResult
from shared.session.log import CallEvent, CallEventKind
from shared.session.model import Session, SessionState
from shared.store.attach_queue import AttachQueue
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.sessions import SessionStore
from shared.telephony.policy_file import POLICY_FILE
from tests.integration.functions.api_client import Api, Reply
from tests.integration.functions.conftest import AGENTS
from tests.integration.functions.playing_worker import attach
from tests.support.eventually import eventually
from tests.support.phone_line import CALLER, PATH, PhoneLine, event, incoming, signed
from tests.support.ports import free_port
from tests.support.stack import RunningFunctions, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Stack(tmp_path_factory.mktemp("phone")) as running:
        running.start_redis()
        running.pretend_worker()
        running.start_realtime(
            *("--no-speech", "--no-media"),
            *("--webhook-attempts", "8", "--webhook-retry-delay", "0.2"),
        )
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def idle_line(stack: Stack, http: aiohttp.ClientSession) -> PhoneLine:
    line = PhoneLine(stack, http)
    await line.register()
    return line


@pytest.fixture(scope="module")
def functions(stack: Stack, idle_line: PhoneLine) -> RunningFunctions:
    return start(stack, idle_line)


def start(
    stack: Stack, line: PhoneLine, *, name: str = "functions", port: str = "0", **settings: str
) -> RunningFunctions:
    return stack.start_functions(
        name=name,
        options=("--port", port),
        **{
            "AGENTS_DIR": str(AGENTS),
            "REALTIME_WEBHOOK_SECRETS": ",".join(line.secrets),
            "CONNECT_TIMEOUT_S": "60",
            **settings,
        },
    )


@pytest_asyncio.fixture(loop_scope="module")
async def line(idle_line: PhoneLine, functions: RunningFunctions) -> AsyncIterator[PhoneLine]:
    await idle_line.connect(functions)
    yield idle_line
    await idle_line.forget_faults()


@pytest_asyncio.fixture(loop_scope="module")
async def redis_db(stack: Stack) -> AsyncIterator[Redis]:
    async with Redis.from_url(stack.redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def store(redis_db: Redis) -> SessionStore:
    return SessionStore(redis_db, retention_s=3600)


async def sessions_of(store: SessionStore, call_id: str) -> list[Session]:
    return [session for session in (await store.page(200)).sessions if session.call_id == call_id]


async def session_of(store: SessionStore, call_id: str) -> Session:
    (session,) = await sessions_of(store, call_id)
    return session


async def ended(store: SessionStore, call_id: str) -> Session:
    async def archived() -> Session | None:
        # A call is claimed a moment before its session carries it.
        found = await sessions_of(store, call_id)
        assert len(found) <= 1
        return found[0] if found and found[0].state is SessionState.ARCHIVED else None

    session = await eventually(archived, what=f"the session of {call_id} is archived")
    assert session is not None
    return session


async def waits_for_a_worker(redis_db: Redis, session_id: str) -> bool:
    jobs = await redis_db.xrange("sessions:attach")
    return [fields["session_id"] for _, fields in jobs].count(session_id) == 1


async def everything_in(redis_db: Redis) -> dict[str, str]:
    """Return all keys with all they hold, as text."""
    readers: dict[str, Any] = {
        "string": redis_db.get,
        "hash": redis_db.hgetall,
        "stream": redis_db.xrange,
        "set": redis_db.smembers,
        "zset": lambda key: redis_db.zrange(key, 0, -1),
    }
    return {key: repr(await readers[await redis_db.type(key)](key)) for key in await redis_db.keys("*")}


async def post(functions: RunningFunctions, body: bytes, headers: dict[str, str]) -> Reply:
    api = Api(functions, **{name.replace("-", "_"): value for name, value in headers.items()})
    return await api.send("POST", PATH, data=body)


def logged(functions: RunningFunctions, message: str, **fields: object) -> list[dict[str, Any]]:
    """Return the records of the app's log with this message and these fields."""
    found: list[dict[str, Any]] = []
    for line in functions.log.read_text(encoding="utf-8").splitlines():
        start_at = line.find("{")
        try:
            record = json.loads(line[start_at:]) if start_at >= 0 else {}
        except ValueError:
            continue
        if record.get("message") == message and fields.items() <= record.items():
            found.append(record)
    return found


# Answered


async def test_a_call_that_rings_is_accepted_once_and_waits_for_a_worker(
    line: PhoneLine, functions: RunningFunctions, store: SessionStore, redis_db: Redis
) -> None:
    call_id = await line.ring(duplicates=5)
    call = await line.becomes(call_id, "live")
    answers = await line.delivered(call_id)
    assert answers.count(200) == 6, answers
    assert set(answers) <= {200, 409}, "a copy that comes too early is told to come again"
    session = await session_of(store, call_id)
    assert (session.state, session.transport, session.agent) == (SessionState.CONNECTING, "sip", "plain")
    assert (session.principal, session.variables) == ("inbound:sip", {})
    assert await waits_for_a_worker(redis_db, session.session_id)
    accepted = call["session"]
    assert "SECRET-INSTRUCTIONS" in accepted["instructions"]
    assert accepted["audio"]["input"]["format"] == accepted["audio"]["output"]["format"]
    assert accepted["audio"]["input"]["format"]["type"] == "audio/pcmu"
    (answered,) = logged(functions, "inbound_call_answered", call_id=call_id)
    assert answered["session_id"] == session.session_id


async def test_two_endpoints_that_tell_of_one_call_are_two_secrets_and_one_session(
    line: PhoneLine, functions: RunningFunctions, store: SessionStore
) -> None:
    """Secrets are replaced by making a second endpoint: for a while both tell of every call."""
    await line.connect(functions, endpoint=1)
    try:
        call_id = await line.ring(duplicates=1)
        await line.becomes(call_id, "live")
        assert (await line.delivered(call_id)).count(200) == 4
    finally:
        await line.disconnect(endpoint=1)
    await session_of(store, call_id)
    assert len(logged(functions, "inbound_call_answered", call_id=call_id)) == 1


async def test_only_an_agent_that_asks_for_the_callers_number_gets_it(
    line: PhoneLine, functions: RunningFunctions, store: SessionStore, redis_db: Redis
) -> None:
    told = await line.becomes(await line.ring("+15550123", "+15550142"), "live")
    assert "[+15550123]" in told["session"]["instructions"]
    withheld = await line.becomes(await line.ring("anonymous", "+15550142"), "live")
    assert "[]" in withheld["session"]["instructions"]
    plain = await line.becomes(await line.ring("+15550124"), "live")
    assert "15550124" not in plain["session"]["instructions"]

    api = Api.application(functions)
    session = await session_of(store, told["id"])
    assert session.variables == {"caller_number": "+15550123"}
    assert "15550123" not in (await api.get(f"/sessions/{session.session_id}")).text
    kept = await everything_in(redis_db)
    assert [key for key, value in kept.items() if "15550123" in key + value] == [
        f"{{{session.session_id}}}:record"
    ]
    assert not [key for key, value in kept.items() if "15550124" in key + value], "nobody asked for it"
    log = functions.log.read_text(encoding="utf-8")
    assert not [number for number in ("5550123", "5550124", "5550199", "5550142") if number in log]


# Refused


@pytest.mark.parametrize(
    ("caller", "called", "status", "reason"),
    [
        ("+15550666", "+15550199", 603, "caller_denied"),
        (CALLER, "+15550177", 404, "number_not_served"),
        (CALLER, "sales", 404, "number_not_served"),
    ],
)
async def test_the_policy_refuses_with_a_sip_status_and_says_why_in_the_log(
    line: PhoneLine,
    functions: RunningFunctions,
    store: SessionStore,
    caller: str,
    called: str,
    status: int,
    reason: str,
) -> None:
    call_id = await line.ring(caller, called, duplicates=2)
    call = await line.becomes(call_id, "ended")
    assert (call["end_reason"], call["reject_status"]) == ("rejected", status)
    assert (await line.delivered(call_id)).count(200) == 3
    (refused,) = logged(functions, "inbound_call_refused", call_id=call_id)
    assert (refused["reason"], refused["told_as"]) == (reason, str(status))
    assert await sessions_of(store, call_id) == []


async def test_a_call_that_no_worker_has_room_for_is_busy(
    line: PhoneLine, functions: RunningFunctions, stack: Stack
) -> None:
    stack.pretend_worker(capacity=0)
    try:
        call_id = await line.ring()
        assert (await line.becomes(call_id, "ended"))["reject_status"] == 486
        await line.delivered(call_id)  # by then it is in the log
    finally:
        stack.pretend_worker()
    (refused,) = logged(functions, "inbound_call_refused", call_id=call_id)
    assert refused["reason"] == "no_room"


async def test_what_the_service_will_not_accept_ends_with_a_reason(
    line: PhoneLine, functions: RunningFunctions, store: SessionStore
) -> None:
    await line.fault(route="accept", status=400)
    call_id = await line.ring()
    call = await line.becomes(call_id, "ended")
    assert call["reject_status"] == 500, "a carrier with another route may try that"
    assert (await ended(store, call_id)).end_reason == "provider_failed"
    assert await line.delivered(call_id) == [200]
    assert logged(functions, "inbound_call_failed", call_id=call_id, code="provider_rejected")


# Out of order, late, twice, half


async def test_a_caller_who_hangs_up_while_we_answer(
    line: PhoneLine, store: SessionStore, redis_db: Redis
) -> None:
    await line.fault(route="accept", ms=600)
    call_id = await line.ring()

    async def is_known() -> bool:
        return await store.session_of_call(call_id) is not None

    await eventually(is_known)
    await line.emulate("POST", f"/_emu/calls/{call_id}/hang-up")
    session = await ended(store, call_id)
    assert session.end_reason == "caller_hung_up"
    assert await line.delivered(call_id) == [200]
    assert not await waits_for_a_worker(redis_db, session.session_id)


async def test_a_notice_after_the_call_leaves_no_more_than_a_record_of_it(
    line: PhoneLine, functions: RunningFunctions, store: SessionStore
) -> None:
    await line.disconnect()
    call_id = await line.ring()
    await line.emulate("POST", f"/_emu/calls/{call_id}/hang-up")
    for _ in range(2):
        body = incoming(call_id)
        assert (await post(functions, body, signed(line.secrets[0], body))).status == 200
    assert (await ended(store, call_id)).end_reason == "caller_hung_up"
    body = incoming("rtc_long_gone", age_s=3600)
    assert (await post(functions, body, signed(line.secrets[0], body))).status == 200
    assert await store.session_of_call("rtc_long_gone") is None


async def test_a_delivery_that_is_sent_again_changes_nothing(
    line: PhoneLine, functions: RunningFunctions, store: SessionStore
) -> None:
    await line.disconnect()
    call_id = await line.ring()
    body = incoming(call_id)
    headers = signed(line.secrets[1], body)
    for _ in range(3):
        assert (await post(functions, body, headers)).status == 200
    later = signed(line.secrets[1], body, webhook_id=headers["Webhook-Id"], age_s=-2)
    assert (await post(functions, body, later)).status == 200, "a retry carries a new time, and the same id"
    assert (await line.call(call_id))["state"] == "live"
    await line.emulate("POST", f"/_emu/calls/{call_id}/hang-up")
    assert (await post(functions, body, headers)).status == 200
    await session_of(store, call_id)
    assert len(logged(functions, "inbound_call_answered", call_id=call_id)) == 1


async def test_a_service_that_fails_for_a_moment_rings_through(
    line: PhoneLine, functions: RunningFunctions, store: SessionStore, redis_db: Redis
) -> None:
    await line.fault(route="accept", status=500, times=3)  # the whole first delivery, half of the second
    call_id = await line.ring()
    await line.becomes(call_id, "live")
    assert await line.delivered(call_id) == [503, 200]
    session = await session_of(store, call_id)
    assert await waits_for_a_worker(redis_db, session.session_id)
    assert len(logged(functions, "inbound_call_answered", call_id=call_id)) == 1


async def test_redis_away_for_a_moment(
    line: PhoneLine, functions: RunningFunctions, stack: Stack, store: SessionStore
) -> None:
    stack.stop_redis()
    try:
        call_id = await line.ring()

        async def was_refused() -> bool:
            deliveries = (await line.call(call_id))["webhook_deliveries"]
            return deliveries[0]["attempts"] != []

        await eventually(was_refused)
    finally:
        stack.start_redis()
    await line.becomes(call_id, "live", within=20)
    answers = await line.delivered(call_id)
    assert answers[0] == 503
    assert answers[-1] == 200
    await session_of(store, call_id)


async def test_an_app_that_dies_while_it_answers_is_gone_on_with(
    stack: Stack, idle_line: PhoneLine, store: SessionStore, redis_db: Redis
) -> None:
    """Once as soon as the session is known; once with the call accepted, and no worker asked for."""
    port = str(free_port())

    def restarted() -> RunningFunctions:
        return start(stack, idle_line, name="mortal", port=port)

    mortal = restarted()
    await idle_line.connect(mortal)
    for accepted in (False, True):
        await idle_line.fault(route="accept", ms=1000)
        call_id = await idle_line.ring()

        async def is_known(call_id: str = call_id) -> bool:
            return await store.session_of_call(call_id) is not None

        await eventually(is_known)
        mortal.stop(kill=True)
        await idle_line.forget_faults()
        if accepted:  # the last thing that it did
            await idle_line.accept(call_id)
        session_id = await store.session_of_call(call_id)
        assert session_id is not None
        assert not await waits_for_a_worker(redis_db, session_id)
        # The dead one's claims hold for 20 s; here they lapse now.
        for key in await redis_db.keys("deliveries:*"):
            if 0 < await redis_db.pttl(key) <= 20_000:
                await redis_db.delete(key)
        mortal = restarted()

        async def waits(session_id: str = session_id) -> bool:
            return await waits_for_a_worker(redis_db, session_id)

        await eventually(waits, within=20)
        await idle_line.delivered(call_id)
        assert (await idle_line.call(call_id))["state"] == "live"
        assert (await session_of(store, call_id)).session_id == session_id
        tried_again = logged(mortal, "inbound_call_perhaps_answered", session_id=session_id)
        assert len(tried_again) == accepted, "the service said that the call is taken, and that was us"
    mortal.stop()


# Forged


async def test_nothing_is_believed_without_a_signature_of_now(
    line: PhoneLine, functions: RunningFunctions, store: SessionStore
) -> None:
    await line.disconnect()
    call_id = await line.ring()
    body = incoming(call_id)
    good = signed(line.secrets[0], body)
    forged = {
        "unsigned": {"Content-Type": "application/json"},
        "signed by a stranger": signed("whsec_" + "A" * 44, body),
        "another body": signed(line.secrets[0], body + b" "),
        "recorded earlier": signed(line.secrets[0], body, age_s=301),
        "from the future": signed(line.secrets[0], body, age_s=-320),
        "another id": {**good, "Webhook-Id": "wh_other"},
        "another time": {**good, "Webhook-Timestamp": str(int(good["Webhook-Timestamp"]) + 1)},
        "nonsense": {**good, "Webhook-Signature": "v1,"},
    }
    for what, headers in forged.items():
        reply = await post(functions, body, headers)
        assert reply.problem() == (400, "webhook_signature_invalid"), what
    assert await store.session_of_call(call_id) is None
    assert (await line.call(call_id))["state"] == "ringing"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"x" * 65_537, "application/json", (413, "body_too_large")),
        (b"{", "application/json", (400, "invalid_json")),
        (b"[]", "application/json", (400, "invalid_body")),
        (b"{}", "application/json", (400, "invalid_body")),
        (event("realtime.call.incoming", None), "application/json", (400, "invalid_body")),
        (event("realtime.call.incoming", {"call_id": 7}), "application/json", (400, "invalid_body")),
        (event("realtime.call.incoming", {"call_id": "../x"}), "application/json", (400, "invalid_call_id")),
        (
            event("realtime.call.incoming", {"call_id": "rtc_1", "sip_headers": [{"name": "From"}]}),
            "application/json",
            (400, "invalid_body"),
        ),
        (event("realtime.call.incoming", {}), "text/plain", (415, "unsupported_media_type")),
    ],
    # Not made of the bodies: they hold the time, and every process must find the same tests.
    ids=[
        "too_large", "no_json", "a_list", "empty", "no_data", "number_for_a_call", "path_for_a_call",
        "half_a_header", "text",
    ],
)  # fmt: skip
async def test_signed_nonsense_is_refused_too(
    line: PhoneLine,
    functions: RunningFunctions,
    body: bytes,
    content_type: str,
    expected: tuple[int, str],
) -> None:
    headers = {**signed(line.secrets[0], body), "Content-Type": content_type}
    assert (await post(functions, body, headers)).problem() == expected


@pytest.mark.parametrize("kind", ["live.transport.incoming", "batch.completed", "what.nobody.knows"])
async def test_events_of_other_types_are_taken_and_ignored(
    line: PhoneLine, functions: RunningFunctions, kind: str
) -> None:
    for data in ({"session_id": "live_1"}, None, "text", []):
        body = event(kind, data)
        assert (await post(functions, body, signed(line.secrets[0], body))).status == 200
    assert len(logged(functions, "webhook_ignored", type=kind)) == 4


# Set up wrongly


async def test_without_a_secret_nobody_is_believed_and_the_log_says_what_to_set(
    stack: Stack, idle_line: PhoneLine
) -> None:
    bare = stack.start_functions(name="bare", AGENTS_DIR=str(AGENTS))
    body = incoming("rtc_1")
    for headers in (signed(idle_line.secrets[0], body), {"Content-Type": "application/json"}):
        assert (await post(bare, body, headers)).problem() == (503, "webhook_not_configured")
    (record, _) = logged(bare, "request_failed", code="webhook_not_configured")
    assert "REALTIME_WEBHOOK_SECRETS" in record["detail"]
    bare.stop()


async def test_a_policy_with_a_mistake_refuses_every_call_and_readiness_says_so(
    stack: Stack, idle_line: PhoneLine, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    agents = tmp_path / "agents"
    shutil.copytree(AGENTS, agents)
    (agents / POLICY_FILE).write_text("default_agent: nobody\n")
    wrong = start(stack, idle_line, name="wrong", AGENTS_DIR=str(agents))
    await idle_line.connect(wrong)
    call_id = await idle_line.ring()
    assert (await idle_line.becomes(call_id, "ended"))["reject_status"] == 500
    (record,) = logged(wrong, "inbound_call_failed", call_id=call_id)
    assert record["code"] == "telephony_policy_invalid"
    assert f"{POLICY_FILE}:1: default_agent: there is no agent 'nobody'" in record["detail"]
    async with http.get(f"{wrong.api}/ready") as answer:
        assert answer.status == 503
        assert (await answer.json())["checks"]["telephony"]["code"] == "telephony_policy_invalid"
    wrong.stop()


async def test_as_many_calls_are_live_as_the_policy_lets(
    stack: Stack, idle_line: PhoneLine, tmp_path: Path, redis_db: Redis
) -> None:
    agents = tmp_path / "agents"
    shutil.copytree(AGENTS, agents)
    (agents / POLICY_FILE).write_text("default_agent: plain\nmax_live_calls: 2\n")
    await redis_db.delete("limits:live:inbound:sip")
    small = start(stack, idle_line, name="small", AGENTS_DIR=str(agents))
    await idle_line.connect(small)
    calls = [await idle_line.ring(called="anything") for _ in range(3)]
    for call_id in calls:
        assert (await idle_line.delivered(call_id))[-1] == 200
    outcomes = [await idle_line.call(call_id) for call_id in calls]
    assert sorted(call["state"] for call in outcomes) == ["ended", "live", "live"]
    assert [call["reject_status"] for call in outcomes if call["state"] == "ended"] == [486]
    live = next(call["id"] for call in outcomes if call["state"] == "live")
    session_id = await SessionStore(redis_db, retention_s=60).session_of_call(live)
    assert session_id is not None
    assert (await Api.application(small).post(f"/sessions/{session_id}/end")).status == 202

    async def has_room() -> bool:
        return (await redis_db.zcard("limits:live:inbound:sip")) < 2

    await eventually(has_room)
    await idle_line.becomes(await idle_line.ring(), "live")
    small.stop()


async def test_the_queue_holds_each_session_once(redis_db: Redis) -> None:
    """After everything above: nothing was asked for twice."""
    jobs = [fields["session_id"] for _, fields in await redis_db.xrange("sessions:attach")]
    assert len(jobs) == len(set(jobs)) == await AttachQueue(redis_db).depth()


# Transferred


async def test_an_agents_transfer_refers_the_call_and_says_whom_it_can_not_reach(
    line: PhoneLine, functions: RunningFunctions, store: SessionStore, stack: Stack, redis_db: Redis
) -> None:
    call_id = await line.ring(called="+15550142")
    await eventually(lambda: sessions_of(store, call_id), what=f"a session of {call_id}")
    session_id = (await session_of(store, call_id)).session_id
    await attach(redis_db, session_id)
    worker = Api.bearer(functions, TokenRing(stack.signing_keys).issue_service_token("worker-1"))

    async def transfer(tool_call_id: str, to: str) -> None:
        message = {
            "type": "start_durable_tool",
            "session_id": session_id,
            "tool_call_id": tool_call_id,
            "tool": "transfer_call",
            "arguments": json.dumps({"to": to}),
            "traceparent": "",
        }
        assert (await worker.post(f"/sessions/{session_id}/tool-calls", message)).status == 202

    await transfer("c1", "colleague")
    (told,) = await eventually(lambda: Inbox(redis_db).read(session_id, "0-0"), what="the model is told")
    assert isinstance(told.command, ToolResult)
    assert json.loads(told.command.output)["error"]["code"] == "unsupported_by_carrier"
    for _ in range(2):
        await transfer("c2", "billing")

    async def referred() -> bool:
        return (await line.call(call_id))["refer_target"] == "tel:+15550300"

    await eventually(referred, what="the call is referred")

    async def asked() -> list[CallEventKind]:
        entries = [logged.entry for logged in await EventLog(redis_db).read_all(session_id)]
        return [one.event for one in entries if isinstance(one, CallEvent) and one.operation_id == "c2"]

    assert await eventually(asked, what="it is in the log") == [CallEventKind.TRANSFER_ASKED]
