"""All MCP servers of a process: a connection for each, warm before the first call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from shared.agents.catalog import Agent, AgentCatalog
from shared.errors import SidetoneError
from shared.mcp.addresses import address_of
from shared.mcp.connection import McpConnection
from shared.mcp.credentials import SecretStore
from shared.mcp.server import HttpEndpoint, McpConnectionSpec, McpServer, StdioCommand
from shared.mcp.tools import ServerTools
from shared.telemetry.logs import get_logger
from shared.tools.definition import Tool

_log = get_logger(__name__)


class McpPool:
    """Owns the connections. Agents that describe a server alike share one.

    wait_s: how long a session may wait for servers that are not connected yet.
    allow_stdio: whether servers may be commands; for development.
    """

    def __init__(
        self,
        *,
        secrets: SecretStore,
        environment: Mapping[str, str],
        wait_s: float,
        allow_stdio: bool = False,
    ) -> None:
        self._secrets = secrets
        self._environment = environment
        self._wait_s = wait_s
        self._allow_stdio = allow_stdio
        self._connections: dict[McpConnectionSpec, McpConnection] = {}
        self._sources: dict[tuple[str, str, str], ServerTools] = {}
        self._equipped: tuple[AgentCatalog, tuple[int, ...], AgentCatalog] | None = None
        self._closed = False

    async def warm_up(self, agents: AgentCatalog) -> None:
        """Connect to every server of `agents`, and wait for them no longer than a session would.

        Raises SidetoneError for a server that can't be used as it is described.
        """
        for agent in agents:
            for server in agent.mcp_servers.values():
                self._source(agent, server)
        await self._settled()

    async def equipped(self, agents: AgentCatalog) -> AgentCatalog:
        """Return `agents` with their servers' tools beside their own, as these are listed now.

        Never fails, and waits only where a server's first answer is still out, for `wait_s` at most.
        """
        if not any(agent.mcp_servers for agent in agents):
            return agents
        sources = {agent.name: self._sources_of(agent) for agent in agents}
        await self._settled()
        state = tuple(connection.changes for connection in self._connections.values())
        if self._equipped is None or self._equipped[:2] != (agents, state):
            ready = {agent.name: _equipped(agent, sources[agent.name]) for agent in agents}
            self._equipped = (agents, state, AgentCatalog(ready))
        return self._equipped[2]

    async def close(self) -> None:
        """Disconnect from all; safe to call twice."""
        self._closed = True
        connections = list(self._connections.values())
        await asyncio.gather(*(connection.close() for connection in connections))

    def _source(self, agent: Agent, server: McpServer) -> ServerTools:
        """Return what `server` offers to `agent`; raise SidetoneError where it can't be used as described."""
        key = (agent.name, agent.version, server.name)
        if key not in self._sources:
            connection = self._connection(server, where=f"agent {agent.name}: mcp_servers.{server.name}")
            self._sources[key] = ServerTools(server, connection)
        return self._sources[key]

    def _connection(self, server: McpServer, *, where: str) -> McpConnection:
        spec = server.connection
        if spec in self._connections:
            return self._connections[spec]
        match spec.transport:
            case HttpEndpoint(url=written):
                url = address_of(written, self._environment, where=f"{where}.url")
            case StdioCommand():
                if not self._allow_stdio:
                    raise SidetoneError(
                        "mcp_stdio_not_allowed",
                        f"{where}.command: a command is for development only. Give the server a url, or set "
                        "MCP_ALLOW_STDIO=true on a development machine.",
                    )
                url = ""
        connection = McpConnection(server.name, spec, url, self._secrets)
        self._connections[spec] = connection
        if not self._closed:
            connection.start()
        return connection

    def _sources_of(self, agent: Agent) -> list[ServerTools]:
        sources: list[ServerTools] = []
        for server in agent.mcp_servers.values():
            try:
                sources.append(self._source(agent, server))
            except SidetoneError as error:  # agents that were reloaded; those of the start were checked
                _log.error(
                    "an MCP server can't be used", extra={"server": server.name, "detail": error.detail}
                )
        return sources

    async def _settled(self) -> None:
        waiting = [
            asyncio.ensure_future(c.settled()) for c in self._connections.values() if not c.has_settled
        ]
        if not waiting:
            return
        _, late = await asyncio.wait(waiting, timeout=self._wait_s)
        for task in late:
            task.cancel()


def _equipped(agent: Agent, sources: Iterable[ServerTools]) -> Agent:
    tools: dict[str, Tool] = {}
    for source in sources:
        tools.update(source.tools())
    for name in sorted(tools.keys() & agent.tools.keys()):
        _log.error(
            "an MCP tool has the name of a tool of the agent", extra={"agent": agent.name, "tool": name}
        )
    return replace(agent, tools={**tools, **agent.tools}) if tools else agent
