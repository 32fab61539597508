"""The worker's connections to the MCP servers of its agents; nothing of it is imported where none has one."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from shared.agents.catalog import AgentCatalog
from shared.settings import WorkerSettings

if TYPE_CHECKING:
    from shared.mcp.pool import McpPool


async def connect_servers(settings: WorkerSettings, agents: AgentCatalog) -> McpPool | None:
    """Return the connections, as far as they came about within MCP_WAIT_S; None where nobody names a server.

    Raises SidetoneError for a server that can't be used as it is described.
    """
    if not settings.agents_reload and not any(agent.mcp_servers for agent in agents):
        return None
    await asyncio.to_thread(import_module, "shared.mcp.pool")
    from shared.mcp.credentials import SecretStore, process_environment
    from shared.mcp.pool import McpPool

    environment = process_environment()
    pool = McpPool(
        secrets=SecretStore(environment, settings.key_vault_url),
        environment=environment,
        wait_s=settings.mcp_wait_s,
        allow_stdio=settings.mcp_allow_stdio,
    )
    try:
        await pool.warm_up(agents)
    except BaseException:
        await pool.close()
        raise
    return pool
