"""Our MCP client as the suite starts it: connect as a worker does, and call every tool as a model would.

`python -m tests.conformance.client <server-url>`; the suite names the scenario in MCP_CONFORMANCE_SCENARIO
and gives what it needs beside that, as JSON, in MCP_CONFORMANCE_CONTEXT.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from shared.agents.catalog import AgentCatalog, load_agents
from shared.agents.mcp_section import McpServerSection, mcp_servers
from shared.mcp.credentials import SecretStore
from shared.mcp.durable import durable_tool
from shared.mcp.pool import McpPool
from shared.tools.approval import Approval
from shared.tools.approval_gate import ApprovalAsked
from shared.tools.context import ToolContext
from shared.tools.execution import ToolOutcome, attempt_tool

AGENTS = Path(__file__).parents[1] / "support" / "desk_agents"
EXAMPLES: Mapping[str, object] = {"number": 5, "integer": 5, "string": "text", "boolean": True}


async def main(url: str) -> None:
    given: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    section: dict[str, object] = {"url": url, "tools": ["*"], "timeout_s": 10}
    if "client_secret" in given:
        section["auth"] = {
            "type": "client_credentials",
            "client_id": given["client_id"],
            "client_secret": "conformance-secret",
            "issuer": await _issuer(url),
        }
    servers = mcp_servers({"s": McpServerSection.model_validate(section)})
    agent = replace(load_agents(AGENTS).get("desk"), tools={}, mcp_servers=servers)
    environment = {"CONFORMANCE_SECRET": str(given.get("client_secret", ""))}
    secrets = SecretStore(environment, "")
    pool = McpPool(secrets=secrets, environment=environment, wait_s=20)
    try:
        ready = await pool.equipped(AgentCatalog({"desk": agent}))
        tools = ready.get("desk").tools
        print("tools:", ", ".join(tools) or "none")
        calls: list[dict[str, Any]] = list(given.get("toolCalls", []))
        named = {call["name"] for call in calls}
        calls += [
            {"name": name, "arguments": None} for name in tools if name.removeprefix("s__") not in named
        ]
        if scenario == "json-schema-ref-no-deref":
            calls = []
        for number, call in enumerate(calls):
            tool = tools.get(call["name"]) or tools.get(f"s__{call['name']}")
            if tool is None:
                print(call["name"], "is not offered")
                continue
            arguments = call["arguments"] if call["arguments"] is not None else _example(tool.parameters)
            context = ToolContext(
                session_id="ses_1", tool_call_id=f"call_{number}", idempotency_key=f"k{number}", agent="desk"
            )
            outcome = await attempt_tool(tool, json.dumps(arguments), context)
            if isinstance(outcome, ApprovalAsked):  # and somebody approves at once
                approved = replace(context, approval=Approval(approval_id="apr_1", by="Ruth"))
                durable = durable_tool(agent, tool.name, secrets, environment)
                assert durable is not None
                outcome = await attempt_tool(durable, json.dumps(arguments), approved)
            if isinstance(outcome, ToolOutcome):
                print(tool.name, outcome.status.value, outcome.output[:300])
    finally:
        await pool.close()


def _example(schema: Mapping[str, Any]) -> dict[str, object]:
    """Return arguments with all that is required, and no more."""
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    required = schema.get("required", [])
    return {name: EXAMPLES.get(str(properties[name].get("type")), "text") for name in required}


async def _issuer(url: str) -> str:
    """Return the authorization server that the agent's author would have written down."""
    origin, _, path = url.partition("://")[2].partition("/")
    async with aiohttp.ClientSession() as http:
        for place in (
            f"/.well-known/oauth-protected-resource/{path}",
            "/.well-known/oauth-protected-resource",
        ):
            async with http.get(f"http://{origin}{place}") as reply:
                if reply.status == 200:
                    return str((await reply.json())["authorization_servers"][0])
    return f"http://{origin}"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[-1]))
