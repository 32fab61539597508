"""Starting calls: tokens and the SDP exchange, and everything that can be wrong with a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import jwt
import pytest
from redis.asyncio import Redis

from shared.security.tokens import TokenRing
from shared.store.attach_queue import AttachQueue
from shared.store.sessions import SessionStore
from tests.integration.functions.api_client import OFFER, Api
from tests.integration.functions.conftest import AGENTS
from tests.integration.functions.playing_worker import attach
from tests.support.eventually import eventually
from tests.support.stack import RunningFunctions, Stack


async def token(api: Api, agent: str = "plain", **body: object) -> dict[str, str]:
    reply = await api.post("/token", {"agent": agent, **body})
    assert reply.status == 201, reply
    return reply.json


@pytest.fixture
async def faults(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """Plans faults of the realtime service; forgotten after the test."""
    async with aiohttp.ClientSession(stack.provider_url) as http:
        yield http
        await http.delete("/_emu/faults")


async def plan(faults: aiohttp.ClientSession, **fault: object) -> None:
    async with faults.post("/_emu/faults", json={"kind": "http", "times": 5, **fault}) as response:
        assert response.status == 201, await response.text()


# Tokens


async def test_a_token_has_what_a_client_needs_and_nothing_of_the_agent(api: Api, stack: Stack) -> None:
    reply = await api.post("/token", {"agent": "reception", "variables": {"caller_name": "Ada"}})
    assert reply.status == 201
    granted = reply.json
    assert granted["client_secret"]["value"].startswith("ek_")
    assert granted["calls_url"] == f"{stack.provider_url}/openai/v1/realtime/calls?webrtcfilter=on"
    assert 50 <= granted["client_secret"]["expires_at"] - time.time() <= 61
    assert granted["expires_at"] > time.time() + 7000
    for hidden in ("SECRET-INSTRUCTIONS", "Ada", stack.provider_key, "tools"):
        assert hidden not in reply.text
    assert reply.headers["cache-control"] == "no-store"

    session = (await api.get(f"/sessions/{granted['session_id']}")).json
    assert (session["state"], session["agent"], session["call_id"]) == ("created", "reception", None)
    assert "Ada" not in str(session)


async def test_the_secret_is_bound_to_the_agents_configuration(api: Api, stack: Stack) -> None:
    granted = (await api.post("/token", {"agent": "plain"})).json
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            granted["calls_url"],
            data=OFFER,
            headers={
                "Authorization": f"Bearer {granted['client_secret']['value']}",
                "Content-Type": "application/sdp",
            },
        ) as answer,
    ):
        assert answer.status == 201, await answer.text()
        call_id = answer.headers["Location"].rpartition("/")[2]
        async with http.get(f"{stack.provider_url}/_emu/calls/{call_id}") as shown:
            assert "SECRET-INSTRUCTIONS" in await shown.text()


async def test_an_unknown_agent(api: Api) -> None:
    reply = await api.post("/token", {"agent": "nobody"})
    assert reply.problem() == (404, "unknown_agent")
    assert "plain" in reply.json["detail"]


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({}, "agent_variables"),
        ({"caller_name": "Ada", "unknown": "x"}, "agent_variables"),
        ({"caller_name": 7}, "invalid_body"),
        ({"caller_name": "x" * 2001}, "invalid_body"),
    ],
)
async def test_bad_variables(api: Api, variables: dict[str, object], code: str) -> None:
    assert (await api.post("/token", {"agent": "reception", "variables": variables})).problem() == (400, code)


@pytest.mark.parametrize(
    ("data", "content_type", "expected"),
    [
        (b"", "application/json", (400, "invalid_json")),
        (b"{", "application/json", (400, "invalid_json")),
        (b"{}", "application/json", (400, "no_route")),
        (b'{"agent":"plain","more":1}', "application/json", (400, "invalid_body")),
        (b'{"agent":"plain"}', "text/plain", (415, "unsupported_media_type")),
        (b'{"agent":"' + b"x" * 1_048_576 + b'"}', "application/json", (413, "body_too_large")),
    ],
)
async def test_bad_bodies(api: Api, data: bytes, content_type: str, expected: tuple[int, str]) -> None:
    reply = await api.send("POST", "/token", data=data, content_type=content_type)
    assert reply.problem() == expected


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_a_missing_or_wrong_key_is_refused_by_the_host(functions: RunningFunctions, key: str) -> None:
    stranger = Api(functions, x_functions_key=key) if key else Api(functions)
    for method, path in (("POST", "/token"), ("GET", "/sessions"), ("DELETE", "/sessions/ses_x")):
        assert (await stranger.send(method, path, data=None)).status == 401


# Limits


@pytest.fixture(scope="module")
def limited(stack: Stack) -> RunningFunctions:
    return stack.start_functions(
        name="limited",
        keys=("default", "other", "third"),
        AGENTS_DIR=str(AGENTS),
        TOKEN_RATE_PER_MINUTE="4",
        MAX_LIVE_SESSIONS_PER_PRINCIPAL="2",
    )


async def test_too_many_requests_a_minute(limited: RunningFunctions) -> None:
    api = Api.application(limited, "other")
    for _ in range(4):
        assert (await api.post("/token", {"agent": "nobody"})).status == 404
    refused = await api.post("/token", {"agent": "nobody"})
    assert refused.problem() == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (await Api.application(limited, "third").post("/token", {"agent": "nobody"})).status == 404


async def test_too_many_live_sessions_and_a_place_that_is_given_back(limited: RunningFunctions) -> None:
    api = Api.application(limited)
    first = await token(api)
    await token(api)
    refused = await api.post("/token", {"agent": "plain"})
    assert refused.problem() == (429, "too_many_live_sessions")
    assert int(refused.headers["retry-after"]) >= 1
    assert (await api.delete(f"/sessions/{first['session_id']}")).status == 204
    assert (await api.post("/token", {"agent": "plain"})).status == 201


# The realtime service fails


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"status": 401}, (502, "provider_unauthorized")),
        ({"status": 404, "code": "DeploymentNotFound"}, (502, "provider_rejected")),
        ({"status": 400, "code": "invalid_value"}, (502, "provider_rejected")),
        ({"status": 429, "retry_after": 1}, (503, "provider_rate_limited")),
        ({"status": 500}, (503, "provider_unavailable")),
    ],
)
async def test_the_realtime_service_refuses(
    api: Api,
    faults: aiohttp.ClientSession,
    redis_db: Redis,
    fault: dict[str, object],
    expected: tuple[int, str],
) -> None:
    newest = (await api.get("/sessions", limit="1")).json["sessions"]
    await plan(faults, route="*client_secrets*", **fault)
    reply = await api.post("/token", {"agent": "plain"})
    assert reply.problem() == expected
    assert ("retry-after" in reply.headers) == (expected[0] == 503)

    session = (await api.get("/sessions", limit="1")).json["sessions"][0]
    assert not newest or session["session_id"] != newest[0]["session_id"]
    assert session["end_reason"] == "provider_failed"
    record = await SessionStore(redis_db, retention_s=60).get(session["session_id"])
    live = await redis_db.zscore(f"limits:live:{record.principal}", session["session_id"])
    assert live is None, "the reservation must be given back"
    await eventually(
        lambda: _state(api, session["session_id"], "archived"), what="the failed session is archived"
    )


async def _state(api: Api, session_id: str, state: str) -> bool:
    return (await api.get(f"/sessions/{session_id}")).json["state"] == state


async def test_the_realtime_service_refuses_connections(stack: Stack) -> None:
    from tests.support.ports import free_port

    lonely = stack.start_functions(
        name="lonely", AGENTS_DIR=str(AGENTS), AZURE_OPENAI_ENDPOINT=f"http://127.0.0.1:{free_port()}"
    )
    api = Api.application(lonely)
    assert (await api.post("/token", {"agent": "plain"})).problem() == (503, "provider_unavailable")
    ready = await api.get("/ready")
    assert ready.status == 503
    assert ready.json["checks"]["provider"]["code"] == "provider_unavailable"
    assert ready.json["checks"]["redis"]["status"] == "ok"
    assert (await api.get("/health")).status == 200


# The client's own part


async def test_a_reported_call_waits_for_a_worker(
    api: Api, functions: RunningFunctions, redis_db: Redis
) -> None:
    granted = await token(api)
    client = Api.bearer(functions, granted["client_token"])
    path = f"/sessions/{granted['session_id']}/call"
    reply = await client.post(path, {"call_id": "rtc_reported_1"})
    assert reply.status == 202, reply
    assert (reply.json["state"], reply.json["call_id"]) == ("connecting", "rtc_reported_1")
    again = await client.post(path, {"call_id": "rtc_reported_1"})
    assert again.status == 202, "reporting the same call again is harmless"
    other = await client.post(path, {"call_id": "rtc_reported_2"})
    assert other.problem() == (409, "call_already_reported")

    queue = AttachQueue(redis_db)
    jobs = [job for job in await queue.claim("worker-1", 100, 100) if job.session_id == granted["session_id"]]
    assert len(jobs) == 1, "one job, however often the call is reported"
    for job in jobs:
        await queue.done(job)


async def test_a_call_of_another_session(api: Api, functions: RunningFunctions) -> None:
    mine, theirs = await token(api), await token(api)
    for granted, expected in ((theirs, 202), (mine, 409)):
        client = Api.bearer(functions, granted["client_token"])
        reply = await client.post(f"/sessions/{granted['session_id']}/call", {"call_id": "rtc_theirs"})
        assert reply.status == expected, reply
    assert reply.problem() == (409, "call_of_another_session")


@pytest.mark.parametrize(
    ("body", "code"),
    [({"call_id": "a b"}, "invalid_call_id"), ({"call_id": ""}, "invalid_call_id"), ({}, "invalid_body")],
)
async def test_a_call_id_that_no_provider_gave(
    api: Api, functions: RunningFunctions, body: dict[str, object], code: str
) -> None:
    granted = await token(api)
    client = Api.bearer(functions, granted["client_token"])
    assert (await client.post(f"/sessions/{granted['session_id']}/call", body)).problem() == (400, code)


async def test_tokens_that_are_not_good_for_the_session(
    api: Api, functions: RunningFunctions, ring: TokenRing
) -> None:
    granted, other = await token(api), await token(api)
    forged = jwt.encode(
        {"sub": granted["session_id"], "aud": "sidetone:client", "iss": "sidetone", "iat": 1, "exp": 2**33},
        "x" * 32,
        algorithm="HS256",
        headers={"kid": "test"},
    )
    unsigned = jwt.encode({"sub": granted["session_id"]}, "", algorithm="none", headers={"kid": "test"})
    path = f"/sessions/{granted['session_id']}/call"
    for given, expected in (
        (ring.issue_client_token(granted["session_id"], -60), (401, "client_token_expired")),
        (forged, (401, "client_token_invalid")),
        (unsigned, (401, "client_token_invalid")),
        ("nonsense", (401, "client_token_invalid")),
        (ring.issue_service_token("worker-1"), (401, "client_token_invalid")),
        (other["client_token"], (403, "client_token_other_session")),
    ):
        client = Api.bearer(functions, given)
        assert (await client.post(path, {"call_id": "rtc_1"})).problem() == expected
        assert (await client.delete(path)).problem() == expected
    assert (await Api(functions).delete(path)).problem() == (401, "token_missing")
    assert (await api.get(f"/sessions/{granted['session_id']}")).json["state"] == "created"


async def test_a_client_hangs_up_before_anybody_attached(api: Api, functions: RunningFunctions) -> None:
    granted = await token(api)
    client = Api.bearer(functions, granted["client_token"])
    path = f"/sessions/{granted['session_id']}/call"
    reply = await client.delete(path)
    assert reply.status == 202
    assert (reply.json["state"], reply.json["end_reason"]) == ("ended", "client_ended")
    assert (await client.post(path, {"call_id": "rtc_late"})).problem() == (409, "session_ended")


# The SDP exchange


@pytest.mark.parametrize(
    ("sdp", "content_type", "expected"),
    [
        ("hello", "application/sdp", (400, "invalid_sdp")),
        ("v=0\r\ns=-\r\n", "application/sdp", (400, "invalid_sdp")),
        (OFFER, "text/plain", (415, "unsupported_media_type")),
        (OFFER + "a=" + "x" * 1_048_576, "application/sdp", (413, "body_too_large")),
    ],
)
async def test_what_is_no_offer_never_reaches_the_provider(
    api: Api, sdp: str, content_type: str, expected: tuple[int, str]
) -> None:
    assert (await api.offer("plain", sdp, content_type)).problem() == expected


async def test_an_offer_without_an_agent(api: Api) -> None:
    assert (await api.offer("")).problem() == (400, "invalid_query")
    assert (await api.offer("nobody")).problem() == (404, "unknown_agent")


async def test_the_exchange_waits_for_the_worker(
    api: Api, functions: RunningFunctions, redis_db: Redis
) -> None:
    queue = AttachQueue(redis_db)
    for job in await queue.claim("worker-1", 100, 1):  # what other tests left
        await queue.done(job)
    asking = asyncio.create_task(api.offer("plain"))
    (job,) = await eventually(lambda: queue.claim("worker-1", 1, 100), what="an attach job")
    assert not asking.done()
    await attach(redis_db, job.session_id)
    await queue.done(job)
    reply = await asking
    assert reply.status == 201, reply
    assert reply.text.startswith("v=0")
    assert reply.headers["location"] == f"/api/v1/sessions/{job.session_id}"
    assert (await api.get(f"/sessions/{job.session_id}")).json["state"] == "active"
    client = Api.bearer(functions, reply.headers["x-sidetone-client-token"])
    assert (await client.delete(f"/sessions/{job.session_id}/call")).status == 202


async def test_without_a_worker_the_call_is_ended_again(api: Api, stack: Stack) -> None:
    reply = await api.offer("plain")
    assert reply.problem() == (503, "no_worker_attached")
    assert int(reply.headers["retry-after"]) >= 1
    session = (await api.get("/sessions", limit="1")).json["sessions"][0]
    assert session["end_reason"] == "provider_failed"
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{stack.provider_url}/_emu/calls/{session['call_id']}") as shown,
    ):
        call = await shown.json()
    assert call["state"] in ("ended", "closed"), call


# Nothing secret is logged


async def test_logs_hold_no_credentials(api: Api, functions: RunningFunctions, stack: Stack) -> None:
    granted = await token(api)
    await Api.bearer(functions, granted["client_token"]).post(
        f"/sessions/{granted['session_id']}/call", {"call_id": "!"}
    )
    logged = await eventually(
        lambda: functions.log.read_text() if "request_refused" in functions.log.read_text() else ""
    )
    for secret in (
        stack.provider_key,
        functions.key,
        granted["client_token"],
        stack.signing_keys,
        "SECRET-INSTRUCTIONS",
    ):
        assert secret not in logged


@pytest.mark.parametrize("capacity", [None, 0])
async def test_no_call_starts_where_no_worker_has_room(tmp_path: Path, capacity: int | None) -> None:
    with Stack(tmp_path) as stack:
        stack.start_redis()
        if capacity is not None:
            stack.pretend_worker(capacity)
        api = Api.application(stack.start_functions(AGENTS_DIR=str(AGENTS)))
        for refused in (
            await api.post("/token", {"agent": "plain"}),
            await api.offer("plain"),
        ):
            assert refused.problem() == (503, "no_capacity")
            assert int(refused.headers["retry-after"]) > 0
