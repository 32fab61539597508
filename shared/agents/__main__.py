"""`python -m shared.agents check [DIR]`: check an agents directory, its router and policy for phone calls.

`python -m shared.agents schema` prints the JSON Schema of an agent's file.
"""

from __future__ import annotations

import argparse
import os
import sys

from shared.agents.agent import Agent
from shared.agents.catalog import load_agents
from shared.agents.graph import as_mermaid, as_text
from shared.agents.router_file import load_router
from shared.agents.schema import schema_text
from shared.errors import SidetoneError
from shared.telephony.policy_file import check_destinations, load_policy


def main() -> int:
    """Return 0 after a summary of the agents, 1 after the list of what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m shared.agents", description="Check agents.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check", help="read every agent, prompt, tool and the policy for phone calls, and say what is wrong"
    )
    check.add_argument("directory", nargs="?", default=os.environ.get("AGENTS_DIR") or "agents")
    check.add_argument("--mermaid", action="store_true", help="print the team as a Mermaid flowchart")
    commands.add_parser("schema", help="print the JSON Schema of an agent's file, for editors")
    asked = parser.parse_args()
    if asked.command == "schema":
        sys.stdout.write(schema_text())
        return 0
    directory: str = asked.directory
    try:
        catalog = load_agents(directory)
        check_destinations(directory, catalog, load_policy(directory, catalog))
        load_router(directory, catalog)
    except SidetoneError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 1
    if asked.mermaid:
        sys.stdout.write(as_mermaid(catalog))
        return 0
    for agent in catalog:
        sys.stdout.write(_summary(agent))
    if drawn := as_text(catalog):
        sys.stdout.write(f"\nhandoffs\n{drawn}")
    return 0


def _summary(agent: Agent) -> str:
    tools = ", ".join(f"{tool.name} ({tool.execution.value})" for tool in agent.tools.values())
    required = [name for name, found in agent.variables.items() if found.default is None]
    lines = [
        f"{agent.name}  version {agent.version}",
        f"  {agent.description}",
        f"  voice {agent.voice}, language {agent.language}, {len(agent.tools)} tools: {tools or 'none'}",
        f"  variables: {', '.join(agent.variables) or 'none'}"
        + (f" (required: {', '.join(required)})" if required else ""),
    ]
    if agent.mcp_servers:
        lines.append(f"  MCP servers: {', '.join(agent.mcp_servers)}")
    if agent.consent:
        how = "asks callers first" if agent.consent.ask else "tells callers first"
        lines.append(f"  {how}: {agent.consent.announcement}")
    if agent.recording:
        lines.append(f"  calls are recorded: {agent.recording.channels} {agent.recording.format}")
    if agent.requires:
        lines.append(f"  takes over only with: {', '.join(agent.requires)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
