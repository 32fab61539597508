"""An agent with MCP servers on real sockets, and its tools as a worker would run them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson
import pytest

from shared.agents.agent import Agent
from shared.agents.catalog import AgentCatalog, load_agents
from shared.agents.mcp_section import McpServerSection, mcp_servers
from shared.mcp.credentials import SecretStore
from shared.mcp.pool import McpPool
from shared.tools.approval import Approval
from shared.tools.context import ToolContext
from shared.tools.execution import ToolOutcome, run_tool
from shared.tools.facts import Facts

SECRETS = {"BILLING_MCP_TOKEN": "the-right-token"}


class Desk:
    """One agent whose servers a test describes as the YAML would."""

    def __init__(self, pool: McpPool, agents: AgentCatalog) -> None:
        self.pool = pool
        self.agents = agents

    async def agent(self) -> Agent:
        """Return the agent as a session that begins now gets it."""
        return next(iter(await self.pool.equipped(self.agents)))

    async def run(
        self,
        name: str,
        arguments: Mapping[str, object] | str = {},
        *,
        agent: Agent | None = None,
        call: str = "call_1",
    ) -> ToolOutcome:
        """Run a tool of the agent, once; `call` is the tool call's id."""
        given = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        tools = (agent or await self.agent()).tools
        return await run_tool(tools[name], given, context(call=call))

    async def output(self, name: str, arguments: Mapping[str, object] | str = {}) -> dict[str, Any]:
        """Run a tool of the agent, once, and return what the model reads."""
        return orjson.loads((await self.run(name, arguments)).output)


def context(*, call: str = "call_1", approval: Approval | None = None) -> ToolContext:
    return ToolContext(
        session_id="ses_test",
        tool_call_id=call,
        idempotency_key=f"ses_test.{call}",
        agent="desk",
        facts=Facts({"member_id": "48291734"}),
        approval=approval,
    )


MakeDesk = Callable[..., Desk]


@pytest.fixture
async def desk() -> AsyncIterator[MakeDesk]:
    """Return a maker of desks: `desk(billing={"url": …})`."""
    pools: list[McpPool] = []

    def make(*, wait_s: float = 5.0, allow_stdio: bool = False, **servers: Mapping[str, object]) -> Desk:
        written = {
            name: McpServerSection.model_validate({"tools": ["*"], **section})
            for name, section in servers.items()
        }
        agent = Agent(
            name="desk",
            version="1",
            description="A desk.",
            voice="marin",
            language="en",
            greeting="",
            prompt=_PROMPT,
            mcp_servers=mcp_servers(written),
        )
        environment = dict(SECRETS)
        pool = McpPool(
            secrets=SecretStore(environment, ""),
            environment=environment,
            wait_s=wait_s,
            allow_stdio=allow_stdio,
        )
        pools.append(pool)
        return Desk(pool, AgentCatalog({"desk": agent}))

    yield make
    for pool in pools:
        await pool.close()


_PROMPT = next(iter(load_agents("tests/support/desk_agents"))).prompt
