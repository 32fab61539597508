"""Reading, following, ending and erasing sessions."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from redis.asyncio import Redis

from shared.ids import new_session_id
from shared.session.commands import EndCall
from shared.session.log import AgentTurn, TurnStatus, UserTurn
from shared.store.inbox import Inbox
from tests.integration.functions.api_client import Api
from tests.integration.functions.conftest import AGENTS
from tests.integration.functions.playing_worker import attach, end, now_ms
from tests.support.eventually import eventually
from tests.support.stack import RunningFunctions, Stack


async def started(api: Api, functions: RunningFunctions, call_id: str = "") -> str:
    """Return the id of a session whose call is reported."""
    granted = (await api.post("/token", {"agent": "plain"})).json
    session_id = granted["session_id"]
    client = Api.bearer(functions, granted["client_token"])
    reported = await client.post(f"/sessions/{session_id}/call", {"call_id": call_id or f"rtc_{session_id}"})
    assert reported.status == 202, reported
    return session_id


async def in_state(api: Api, session_id: str, state: str) -> bool:
    return (await api.get(f"/sessions/{session_id}")).json["state"] == state


def said(text: str, spoken_at_ms: int) -> UserTurn:
    return UserTurn(
        item_id=text, text=text, status=TurnStatus.COMPLETED, spoken_at_ms=spoken_at_ms, at_ms=now_ms()
    )


def answered(text: str, spoken_at_ms: int) -> AgentTurn:
    return AgentTurn(
        item_id=text,
        response_id=text,
        agent="plain",
        text=text,
        status=TurnStatus.COMPLETED,
        first_audio_ms=300.0,
        spoken_at_ms=spoken_at_ms,
        at_ms=now_ms(),
    )


async def test_sessions_are_listed_newest_first_page_by_page(api: Api) -> None:
    made = [(await api.post("/token", {"agent": "plain"})).json["session_id"] for _ in range(3)]
    seen: list[str] = []
    query = {"limit": "2"}
    while True:
        page = (await api.get("/sessions", **query)).json
        assert len(page["sessions"]) <= 2
        seen += [session["session_id"] for session in page["sessions"]]
        if page["next"] is None or len(seen) >= 4:
            break
        query["cursor"] = page["next"]
    assert seen[:3] == made[::-1]
    created = (await api.get("/sessions", state="created", limit="100")).json["sessions"]
    assert {session["state"] for session in created} == {"created"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": "0"}, "invalid_query"),
        ({"limit": "x"}, "invalid_query"),
        ({"state": "unknown"}, "invalid_query"),
        ({"cursor": "nonsense"}, "invalid_cursor"),
        ({"cursor": "x" * 500}, "invalid_query"),
    ],
)
async def test_bad_queries_of_the_list(api: Api, query: dict[str, str], code: str) -> None:
    assert (await api.get("/sessions", **query)).problem() == (400, code)


async def test_sessions_that_do_not_exist(api: Api) -> None:
    unknown = new_session_id()
    for method, path in (
        ("GET", f"/sessions/{unknown}"),
        ("GET", f"/sessions/{unknown}/events"),
        ("GET", f"/sessions/{unknown}/transcript"),
        ("POST", f"/sessions/{unknown}/end"),
        ("DELETE", f"/sessions/{unknown}"),
    ):
        assert (await api.send(method, path)).problem() == (404, "session_not_found")
    assert (await api.get("/sessions/ses_short")).problem() == (400, "invalid_session_id")


async def test_the_log_is_paged_and_followed(api: Api, functions: RunningFunctions, redis_db: Redis) -> None:
    session_id = await started(api, functions)
    path = f"/sessions/{session_id}/events"
    first = (await api.get(path, limit="1")).json
    assert [event["type"] for event in first["events"]] == ["session_created"]
    rest = (await api.get(path, after=first["next"])).json
    assert [event["type"] for event in rest["events"]] == ["state_changed"]
    assert rest["events"][0]["state"] == "connecting"
    nothing = (await api.get(path, after=rest["next"])).json
    assert nothing == {"events": [], "next": rest["next"]}, "a live session's log goes on"

    waiting = asyncio.create_task(api.get(path, after=rest["next"], wait_s="20"))
    await asyncio.sleep(0.3)  # it waits, and nothing is there to answer it yet
    assert not waiting.done()
    await attach(redis_db, session_id, said("Hello?", now_ms()))
    followed = (await waiting).json
    assert [event["type"] for event in followed["events"]] == ["attached", "state_changed", "user_turn"]
    assert followed["events"][2]["text"] == "Hello?"
    assert followed["events"][0]["epoch"] >= 1
    assert (await api.get(path, after="nonsense")).problem() == (400, "invalid_query")


async def test_the_transcript_is_in_the_order_of_speech_and_the_log_ends(
    api: Api, functions: RunningFunctions, redis_db: Redis, worker_api: Api
) -> None:
    session_id = await started(api, functions)
    at_ms = now_ms()
    epoch = await attach(
        redis_db, session_id, answered("Yes.", at_ms + 20), said("Are you open?", at_ms + 10)
    )
    before = (await api.get(f"/sessions/{session_id}/transcript")).json
    assert [turn["text"] for turn in before["turns"]] == ["Are you open?", "Yes."]
    assert before["final"] is False
    await end(redis_db, session_id, epoch, "caller_hung_up")
    told = {"type": "lifecycle_event", "session_id": session_id, "event": "ended", "reason": "caller_hung_up"}
    assert (await worker_api.post(f"/sessions/{session_id}/lifecycle", told)).status == 202
    await eventually(lambda: in_state(api, session_id, "archived"))

    after = (await api.get(f"/sessions/{session_id}/transcript")).json
    assert after["final"] is True
    assert after["summary"].startswith("Ended caller_hung_up after")
    log = (await api.get(f"/sessions/{session_id}/events", limit="500")).json
    assert log["next"] is None, "nothing can follow"
    assert log["events"][-1]["type"] == "archived"
    assert (log["events"][-1]["turns"], log["events"][-1]["tools"]) == (2, 0)
    session = (await api.get(f"/sessions/{session_id}")).json
    assert session["end_reason"] == "caller_hung_up"
    assert session["created_at"] <= session["connected_at"] <= session["ended_at"]
    assert session["duration_s"] >= 0


async def test_an_active_session_is_asked_to_end(
    api: Api, functions: RunningFunctions, redis_db: Redis
) -> None:
    session_id = await started(api, functions)
    await attach(redis_db, session_id)
    reply = await api.post(f"/sessions/{session_id}/end", {"goodbye": "We close now."})
    assert (reply.status, reply.json["state"]) == (202, "active")
    (entry,) = await Inbox(redis_db).read(session_id, "0-0")
    assert entry.command == EndCall(reason="operator_ended", goodbye="We close now.")


async def test_a_session_that_connects_is_ended_at_once(api: Api, functions: RunningFunctions) -> None:
    session_id = await started(api, functions)
    reply = await api.send("POST", f"/sessions/{session_id}/end")
    assert (reply.status, reply.json["state"], reply.json["end_reason"]) == (202, "ended", "operator_ended")
    await eventually(lambda: in_state(api, session_id, "archived"))
    assert (await api.post(f"/sessions/{session_id}/end", {"reason": "client_ended"})).status == 202
    session = (await api.get(f"/sessions/{session_id}")).json
    assert session["end_reason"] == "operator_ended", "the first reason stays"


@pytest.mark.parametrize("body", [{"reason": "bored"}, {"goodbye": "x" * 501}, {"more": 1}, []])
async def test_bad_requests_to_end(api: Api, functions: RunningFunctions, body: object) -> None:
    session_id = await started(api, functions)
    assert (await api.post(f"/sessions/{session_id}/end", body)).problem() == (400, "invalid_body")


async def test_erasing_leaves_nothing(
    api: Api, functions: RunningFunctions, redis_db: Redis, worker_api: Api
) -> None:
    session_id = await started(api, functions)
    await attach(redis_db, session_id, said("My name is Ada.", now_ms()))
    call = {
        "type": "start_durable_tool",
        "session_id": session_id,
        "tool_call_id": "call_1",
        "tool": "book",
        "arguments": '{"day":"friday"}',
        "traceparent": "",
    }
    assert (await worker_api.post(f"/sessions/{session_id}/tool-calls", call)).status == 202
    assert (await api.delete(f"/sessions/{session_id}")).status == 204
    assert (await api.get(f"/sessions/{session_id}")).problem() == (404, "session_not_found")
    assert (await api.delete(f"/sessions/{session_id}")).problem() == (404, "session_not_found")
    assert [key async for key in redis_db.scan_iter(f"*{session_id}*")] == []
    assert await redis_db.get(f"calls:rtc_{session_id}") is None
    with sqlite3.connect(functions.log.parent / functions.name / "durable.db") as database:
        assert [line for line in database.iterdump() if session_id in line] == [], "histories are kept"
    # What a worker still sends afterwards changes nothing.
    late = {"type": "lifecycle_event", "session_id": session_id, "event": "ended", "reason": "idle"}
    reply = await worker_api.post(f"/sessions/{session_id}/lifecycle", late)
    assert (reply.status, reply.json) == (202, {"changed": False})
    assert (await worker_api.post(f"/sessions/{session_id}/tool-calls", call)).problem() == (
        404,
        "session_not_found",
    )


async def test_signed_in_users_see_their_own(stack: Stack) -> None:
    common = {"API_AUTH": "easy_auth", "AGENTS_DIR": str(AGENTS)}
    app = stack.start_functions(name="easy_auth", WEBSITE_AUTH_ENABLED="true", **common)
    ada, bob = Api(app, x_ms_client_principal_id="ada"), Api(app, x_ms_client_principal_id="bob")
    granted = await ada.post("/token", {"agent": "plain"})
    assert granted.status == 201
    path = f"/sessions/{granted.json['session_id']}"
    assert (await ada.get(path)).status == 200
    assert (await bob.get(path)).problem() == (404, "session_not_found")
    assert (await bob.delete(path)).problem() == (404, "session_not_found")
    assert (await ada.get("/sessions")).problem() == (403, "operator_role_required")
    assert (await Api(app).get(path)).problem() == (401, "not_authenticated")
