"""Operators' MCP clients: the official client against the Functions app in its host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx2
import pytest
import redis.asyncio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from shared.ids import approval_id_of, new_session_id
from shared.security.tokens import TokenRing
from shared.session.approvals import ApprovalRecord
from shared.session.model import Session, SessionState, Transport
from shared.store.approvals import Approvals
from shared.store.sessions import SessionStore
from tests.support.stack import RunningFunctions

PROBE = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


@asynccontextmanager
async def client(
    functions: RunningFunctions, *, mode: str = "auto", approver: str = ""
) -> AsyncIterator[Client]:
    headers = {"x-functions-key": functions.key}
    if approver:
        headers["Authorization"] = f"Bearer {approver}"
    async with (
        httpx2.AsyncClient(headers=headers, timeout=20) as http,
        Client(
            streamable_http_client(f"{functions.url}/api/v1/mcp", http_client=http),
            mode=mode,
            read_timeout_seconds=20,
        ) as connected,
    ):
        yield connected


@pytest.fixture
async def session_id(redis_db: redis.asyncio.Redis) -> str:
    """A session that was just created."""
    session = Session(
        session_id=new_session_id(),
        state=SessionState.CREATED,
        transport=Transport.WEBRTC,
        agent="clerk",
        agent_version="1",
        principal="somebody",
        created_at_ms=1_790_000_000_000,
    )
    await SessionStore(redis_db, retention_s=600).create(session)
    return session.session_id


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_sessions_are_listed_and_read_in_both_eras(
    functions: RunningFunctions, session_id: str, mode: str
) -> None:
    async with client(functions, mode=mode) as operator:
        tools = {tool.name: tool for tool in (await operator.list_tools()).tools}
        assert set(tools) == {
            "list_sessions",
            "get_session",
            "get_transcript",
            "list_approvals",
            "decide_approval",
        }
        assert tools["get_session"].input_schema["required"] == ["session_id"]
        listed: Any = (await operator.call_tool("list_sessions", {"limit": 100})).structured_content
        assert session_id in [one["session_id"] for one in listed["sessions"]]
        read: Any = (await operator.call_tool("get_session", {"session_id": session_id})).structured_content
        assert read["state"] == "created"
        told: Any = (
            await operator.call_tool("get_transcript", {"session_id": session_id})
        ).structured_content
        assert told["turns"] == []


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("get_session", {"session_id": "ses_1"}, "invalid_session_id"),
        ("get_session", {}, "invalid_arguments"),
        ("list_sessions", {"limit": 1000}, "invalid_arguments"),
        ("list_sessions", {"limits": 1}, "invalid_arguments"),
        ("list_approvals", {}, "token_missing"),
    ],
)
async def test_what_is_wrong_is_told_as_the_tools_error(
    functions: RunningFunctions, tool: str, arguments: dict[str, object], told: str
) -> None:
    async with client(functions) as operator:
        result = await operator.call_tool(tool, arguments)
        assert result.is_error
        assert result.content[0].text.startswith(told)  # type: ignore[union-attr]  it is text


async def test_an_approver_lists_and_decides_once(
    functions: RunningFunctions, ring: TokenRing, redis_db: redis.asyncio.Redis, session_id: str
) -> None:
    asked = await Approvals(redis_db, retention_s=600).ask(
        ApprovalRecord(
            approval_id=approval_id_of(session_id, "call_1"),
            session_id=session_id,
            tool_call_id="call_1",
            agent="clerk",
            tool="refund",
            question="Refund 250 dollars?",
            arguments="{}",
            requested_at_ms=0,
            expires_at_ms=0,
        ),
        open_s=600,
    )
    async with client(functions, approver=ring.issue_approver_token("Ruth", ttl_s=600)) as approver:
        listed: Any = (await approver.call_tool("list_approvals", {})).structured_content
        assert asked.approval_id in [one["approval_id"] for one in listed["approvals"]]
        decision = {"approval_id": asked.approval_id, "decision": "approve", "comment": "Fine."}
        decided: Any = (await approver.call_tool("decide_approval", decision)).structured_content
        assert (decided["state"], decided["decided_by"]) == ("approved", "Ruth")
        again = await approver.call_tool("decide_approval", {**decision, "decision": "reject"})
        assert again.content[0].text.startswith("approval_decided")  # type: ignore[union-attr]  it is text


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"x-functions-key": "wrong"}, PROBE, 401),
        ({"Origin": "https://evil.example"}, PROBE, 403),
        ({"Origin": "http://localhost:3000", "Host": "evil.example"}, PROBE, 403),
        ({"Content-Type": "text/plain"}, PROBE, 415),
        ({}, {**PROBE, "padding": "x" * 70_000}, 413),
    ],
    ids=["no key", "a foreign page", "a name pointed here", "no json", "too large"],
)
async def test_who_and_what_is_let_in(
    functions: RunningFunctions, headers: dict[str, str], body: dict[str, object], status: int
) -> None:
    sent = {"x-functions-key": functions.key, "Accept": "application/json, text/event-stream", **headers}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{functions.url}/api/v1/mcp", json=body, headers=sent) as reply,
    ):
        assert reply.status == status, await reply.text()


async def test_there_is_no_stream(functions: RunningFunctions) -> None:
    async with (
        aiohttp.ClientSession(headers={"x-functions-key": functions.key}) as http,
        http.get(f"{functions.url}/api/v1/mcp") as reply,
    ):
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")
