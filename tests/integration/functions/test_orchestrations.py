"""Both orchestrations on the real host: timers, tools, a Redis that goes away, a host that is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.security.tokens import TokenRing
from shared.session.commands import EndCall, InboxEntry, ToolResult
from shared.session.log import ToolStatus
from shared.store.inbox import Inbox
from tests.integration.functions.api_client import Api
from tests.integration.functions.conftest import AGENTS
from tests.integration.functions.playing_worker import attach, end
from tests.integration.functions.test_sessions import in_state, started
from tests.support.eventually import eventually
from tests.support.stack import RunningFunctions, Stack


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack for tests that break it."""
    with Stack(tmp_path / "stack") as running:
        running.start_redis()
        running.pretend_worker()
        running.start_realtime("--no-speech", "--no-media")
        yield running


def tool_message(
    session_id: str, tool: str, call_id: str = "call_1", arguments: str = "{}"
) -> dict[str, Any]:
    return {
        "type": "start_durable_tool",
        "session_id": session_id,
        "tool_call_id": call_id,
        "tool": tool,
        "arguments": arguments,
        "traceparent": "",
    }


def lifecycle_message(session_id: str, event: str, reason: str = "") -> dict[str, Any]:
    return {"type": "lifecycle_event", "session_id": session_id, "event": event, "reason": reason}


async def inbox(redis: Redis, session_id: str) -> list[InboxEntry]:
    return await Inbox(redis).read(session_id, "0-0")


async def result_of(
    redis: Redis, session_id: str, call_id: str = "call_1", within: float = 20.0
) -> ToolResult:
    """Wait for the call's result and return it; fails if there is more than one."""

    async def results() -> list[ToolResult]:
        return [
            entry.command
            for entry in await inbox(redis, session_id)
            if isinstance(entry.command, ToolResult) and entry.command.tool_call_id == call_id
        ]

    found = await eventually(results, within=within, what=f"the result of {call_id}")
    assert len(found) == 1
    return found[0]


def booked(ledger: Path, session_id: str) -> list[str]:
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [line for line in lines if line.startswith(session_id)]


# Tools


async def test_a_durable_tool_runs_once_however_often_it_is_started(
    api: Api, functions: RunningFunctions, worker_api: Api, redis_db: Redis, ledger: Path
) -> None:
    session_id = await started(api, functions)
    message = tool_message(session_id, "book", arguments='{"day":"friday"}')
    path = f"/sessions/{session_id}/tool-calls"
    replies = await asyncio.gather(*(worker_api.post(path, message) for _ in range(3)))
    assert {reply.status for reply in replies} == {202}
    assert sum(reply.json["changed"] for reply in replies) == 1
    result = await result_of(redis_db, session_id)
    assert (result.status, result.output) == (ToolStatus.OK, '{"booked":"friday"}')
    assert result.duration_ms > 0
    again = await worker_api.post(path, message)
    assert (again.status, again.json) == (202, {"changed": False}), "finished calls are not run again"
    assert booked(ledger, session_id) == [f"{session_id}.call_1 friday"]
    assert len(await inbox(redis_db, session_id)) == 1


@pytest.mark.parametrize(
    ("tool", "arguments", "status", "code", "times"),
    [
        ("flaky", "{}", ToolStatus.OK, "", 1),
        ("broken", "{}", ToolStatus.ERROR, "tool_failed", 1),
        ("book", '{"day":{"a":1}}', ToolStatus.INVALID, "invalid_arguments", 0),
        ("book", "not json", ToolStatus.INVALID, "invalid_arguments", 0),
        ("no_such_tool", "{}", ToolStatus.INVALID, "unknown_tool", 0),
    ],
)
async def test_every_call_gets_its_one_result(
    api: Api,
    functions: RunningFunctions,
    worker_api: Api,
    redis_db: Redis,
    ledger: Path,
    tool: str,
    arguments: str,
    status: ToolStatus,
    code: str,
    times: int,
) -> None:
    session_id = await started(api, functions)
    message = tool_message(session_id, tool, arguments=arguments)
    assert (await worker_api.post(f"/sessions/{session_id}/tool-calls", message)).status == 202
    result = await result_of(redis_db, session_id)
    assert result.status == status, result
    assert code in result.output
    assert "secret" not in result.output
    assert len(booked(ledger, session_id)) == times


async def test_what_only_a_worker_may_send(
    api: Api, functions: RunningFunctions, worker_api: Api, ring: TokenRing
) -> None:
    session_id, other = await started(api, functions), await started(api, functions)
    path = f"/sessions/{session_id}/tool-calls"
    message = tool_message(session_id, "book")
    for token, code in (
        (ring.issue_client_token(session_id, 60), "service_token_invalid"),
        (ring.issue_service_token("worker-1", -60), "service_token_expired"),
    ):
        assert (await Api.bearer(functions, token).post(path, message)).problem() == (401, code)
    assert (await api.post(path, message)).problem() == (401, "token_missing")
    for body in (
        tool_message(other, "book"),
        lifecycle_message(session_id, "ended"),
        {"type": "other"},
        [],
    ):
        assert (await worker_api.post(path, body)).problem() == (400, "invalid_body")
    wrong = lifecycle_message(session_id, "exploded")
    assert (await worker_api.post(f"/sessions/{session_id}/lifecycle", wrong)).problem() == (
        400,
        "invalid_body",
    )


# The lifecycle


async def test_events_may_come_twice_and_late(
    api: Api, functions: RunningFunctions, worker_api: Api, redis_db: Redis
) -> None:
    session_id = await started(api, functions)
    path = f"/sessions/{session_id}/lifecycle"
    epoch = await attach(redis_db, session_id)
    for _ in range(2):
        assert (await worker_api.post(path, lifecycle_message(session_id, "attached"))).status == 202
    await end(redis_db, session_id, epoch, "agent_ended")
    for _ in range(2):
        assert (
            await worker_api.post(path, lifecycle_message(session_id, "ended", "agent_ended"))
        ).status == 202
    await eventually(lambda: in_state(api, session_id, "archived"))

    async def too_late() -> bool:
        late = await worker_api.post(path, lifecycle_message(session_id, "ended", "idle"))
        assert late.status == 202
        return late.json == {"changed": False}  # the orchestration ends a moment after it has archived

    await eventually(too_late)
    assert (await api.get(f"/sessions/{session_id}")).json["end_reason"] == "agent_ended"


@pytest.fixture(scope="module")
def hasty(stack: Stack, ledger: Path) -> RunningFunctions:
    """The app with the shortest times there are."""
    return stack.start_functions(
        name="hasty",
        AGENTS_DIR=str(AGENTS),
        LEDGER=str(ledger),
        CONNECT_TIMEOUT_S="0.5",
        MAX_CALL_DURATION_S="1",
        ATTACH_WAIT_S="8",
    )


async def test_a_call_that_nobody_attaches_to_never_connected(hasty: RunningFunctions) -> None:
    api = Api.application(hasty)
    assert (await api.offer("plain")).problem() == (409, "session_ended")
    session = (await api.get("/sessions", limit="1")).json["sessions"][0]
    assert session["end_reason"] == "never_connected"
    await eventually(lambda: in_state(api, session["session_id"], "archived"))


async def test_the_maximum_duration_reaches_the_owners_inbox(
    hasty: RunningFunctions, redis_db: Redis, ring: TokenRing
) -> None:
    api, worker = Api.application(hasty), Api.bearer(hasty, ring.issue_service_token("worker-1"))
    session_id = await started(api, hasty)
    epoch = await attach(redis_db, session_id)
    path = f"/sessions/{session_id}/lifecycle"
    assert (await worker.post(path, lifecycle_message(session_id, "attached"))).status == 202
    entries = await eventually(lambda: inbox(redis_db, session_id), what="the command to end")
    command = entries[0].command
    assert isinstance(command, EndCall)
    assert command.reason == "max_duration"
    assert command.goodbye
    await end(redis_db, session_id, epoch, "max_duration")
    await worker.post(path, lifecycle_message(session_id, "ended", "max_duration"))
    await eventually(lambda: in_state(api, session_id, "archived"))


# What breaks


async def test_while_redis_is_away_nothing_is_started_and_nothing_lost(
    own_stack: Stack, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    functions = own_stack.start_functions(AGENTS_DIR=str(AGENTS), LEDGER=str(ledger))
    api = Api.application(functions)
    worker = Api.bearer(functions, TokenRing(own_stack.signing_keys).issue_service_token("worker-1"))
    session_id = await started(api, functions)
    message = tool_message(session_id, "book_when_told")
    assert (await worker.post(f"/sessions/{session_id}/tool-calls", message)).status == 202
    await eventually(ledger.with_suffix(".call_1.waiting").exists, what="the tool runs")

    own_stack.stop_redis()
    refused = await api.post("/token", {"agent": "plain"})
    assert refused.problem() == (503, "redis_unavailable")
    assert "retry-after" in refused.headers
    ready = await api.get("/ready")
    assert (ready.status, ready.json["checks"]["redis"]["code"]) == (503, "redis_unavailable")
    ledger.with_suffix(".gate").touch()
    await eventually(lambda: booked(ledger, session_id), what="the tool takes effect without Redis")

    own_stack.start_redis()
    async with Redis.from_url(own_stack.redis_url, decode_responses=True) as redis:
        result = await result_of(redis, session_id)
    assert result.status == ToolStatus.OK
    assert len(booked(ledger, session_id)) == 1
    assert (await api.post("/token", {"agent": "plain"})).status == 201


async def test_a_host_that_is_killed_goes_on_where_it_was(own_stack: Stack, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    settings = {"AGENTS_DIR": str(AGENTS), "LEDGER": str(ledger)}
    functions = own_stack.start_functions(**settings)
    api = Api.application(functions)
    ring = TokenRing(own_stack.signing_keys)
    session_id = await started(api, functions)
    path = f"/sessions/{session_id}/tool-calls"
    worker = Api.bearer(functions, ring.issue_service_token("worker-1"))
    for call_id, tool in (("call_1", "book_when_told"), ("call_2", "charge_when_told")):
        assert (await worker.post(path, tool_message(session_id, tool, call_id))).status == 202
        await eventually(ledger.with_suffix(f".{call_id}.waiting").exists, what=f"{tool} runs")
    functions.stop(kill=True)
    ledger.with_suffix(".gate").touch()

    functions = own_stack.start_functions(**settings)
    api = Api.application(functions)
    worker = Api.bearer(functions, ring.issue_service_token("worker-1"))
    async with Redis.from_url(own_stack.redis_url, decode_responses=True) as redis:
        result = await result_of(redis, session_id)
        assert result.status == ToolStatus.OK
        unsafe = await result_of(redis, session_id, "call_2")
        assert unsafe.status == ToolStatus.UNKNOWN, "what must not run twice is not run again"
        assert "tool_cut_off" in unsafe.output
        again = await worker.post(path, tool_message(session_id, "book_when_told"))
        assert again.json == {"changed": False}
        assert len(booked(ledger, session_id)) == 1
        assert (await api.send("POST", f"/sessions/{session_id}/end")).status == 202
        await eventually(lambda: in_state(api, session_id, "archived"), what="the lifecycle survived, too")
