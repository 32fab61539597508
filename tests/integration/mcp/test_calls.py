"""A call goes on, whatever its MCP server does: a worker's session, with a provider that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis.asyncio
from aiohttp import web

from realtime_worker.roster import Roster
from shared.agents.catalog import load_agents
from shared.mcp.credentials import SecretStore
from shared.mcp.pool import McpPool
from shared.session.log import ToolFinished, ToolStatus
from shared.session.model import SessionState
from tests.integration.worker.in_process import InProcess
from tests.support.eventually import eventually
from tests.support.mcp_server import ScriptedMcpServer, text_result, tool
from tests.support.scripted_provider import ScriptedProvider, ScriptedSocket

AGENT = """
name: desk
description: A desk.
prompt: prompt.j2
mcp_servers:
  billing: {url: "http://127.0.0.1:PORT/mcp", tools: ["*"], timeout_s: 0.5}
"""


class Line:
    """One call that is up."""

    def __init__(self, parts: InProcess, session_id: str, socket: ScriptedSocket) -> None:
        self.parts = parts
        self.session_id = session_id
        self.socket = socket
        self._calls = 0

    async def calls(self, name: str, arguments: str = "{}") -> str:
        """Let the model call a tool; return the output that it is sent."""
        self._calls += 1
        call_id, response_id = f"call_{self._calls}", f"resp_{self._calls}"
        item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
        self.socket.say(type="response.created", response={"id": response_id})
        self.socket.say(
            type="response.done",
            response={"id": response_id, "status": "completed", "output": [{**item, "status": "completed"}]},
        )
        return await eventually(lambda: self._output_of(call_id), what=f"the output of {name}")

    def _output_of(self, call_id: str) -> str:
        for event in self.socket.sent:
            item: Any = event.get("item")
            if item and item.get("type") == "function_call_output" and item["call_id"] == call_id:
                return str(item["output"])
        return ""

    async def statuses(self) -> list[ToolStatus]:
        entries = await self.parts.entries(self.session_id)
        return [entry.status for entry in entries if isinstance(entry, ToolFinished)]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedMcpServer]:
    async with ScriptedMcpServer(tool("pay", {"amount": {"type": "integer"}})) as running:
        yield running


@pytest.fixture
async def line(
    server: ScriptedMcpServer, redis_client: redis.asyncio.Redis, tmp_path: Path
) -> AsyncIterator[Line]:
    (tmp_path / "prompt.j2").write_text("Be brief.")
    (tmp_path / "desk.yaml").write_text(AGENT.replace("PORT", str(server.port)))
    parts = InProcess(redis_client, ScriptedProvider())
    pool = McpPool(secrets=SecretStore({}, ""), environment={}, wait_s=5)
    parts.services = replace(parts.services, catalog=load_agents(tmp_path), mcp=pool)
    roster = Roster(parts.services)
    session_id = await parts.connecting_session()
    roster.take(await parts.job(session_id))
    await parts.wait_state(session_id, SessionState.ACTIVE)
    (socket,) = parts.provider.sockets
    yield Line(parts, session_id, socket)
    await roster.hand_back()
    await pool.close()


async def test_the_model_is_offered_the_servers_tools(line: Line) -> None:
    (configured,) = [event for event in line.socket.sent if event["type"] == "session.update"]
    session: Any = configured["session"]
    assert [one["name"] for one in session["tools"]] == ["billing__pay"]
    assert session["tools"][0]["parameters"]["required"] == ["amount"]


async def test_the_call_goes_on_whatever_the_server_does(line: Line, server: ScriptedMcpServer) -> None:
    async def hang(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        await asyncio.sleep(60)
        return text_result("")

    async def no_json(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        return web.Response(text="<html>", content_type="text/html")

    async def five_megabytes(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        return text_result("x" * 5_000_000)

    async def die(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "500"})
        await response.prepare(request)
        assert request.transport is not None
        request.transport.close()
        return response

    working, five = server.on_call, '{"amount": 5}'
    told: list[str] = []
    for trouble in (hang, no_json, five_megabytes, die):
        server.on_call = trouble
        told.append(code(await line.calls("billing__pay", five)))
    server.on_call = working
    told.append(code(await line.calls("billing__pay", '{"amount": "five"}')))
    told.append(code(await line.calls("billing__drop")))
    await server.stop()
    told.append(code(await line.calls("billing__pay", five)))
    assert told == [
        "mcp_timeout",
        "mcp_bad_answer",
        "result_too_large",
        "mcp_lost",
        "invalid_arguments",
        "unknown_tool",
        "mcp_unavailable",
    ]

    await server.start()
    await eventually(lambda: _paid(line), what="a payment in the same call")
    await eventually(lambda: server.listeners, what="the worker listens for changes")
    server.tools = [tool("pay", {"cents": {"type": "integer"}})]
    await server.changed()
    await eventually(lambda: _refused(line, five), what="the new schema")
    assert "error" not in orjson.loads(await line.calls("billing__pay", '{"cents": 500}'))
    assert (await line.statuses())[-1] is ToolStatus.OK
    assert await line.parts.state(line.session_id) is SessionState.ACTIVE
    assert len(line.parts.provider.sockets) == 1, "the caller has noticed nothing of the connection"


async def _refused(line: Line, arguments: str) -> bool:
    """Whether the arguments of the schema that the session began with are refused, and the new one told."""
    told = await line.calls("billing__pay", arguments)
    return "takes other arguments now" in told and "cents" in told


async def _paid(line: Line) -> bool:
    return "error" not in orjson.loads(await line.calls("billing__pay", '{"amount": 5}'))


def code(output: str) -> str:
    return str(orjson.loads(output)["error"]["code"])
