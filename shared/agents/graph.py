"""Who hands over to whom, drawn as text or for Mermaid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.agents.agent import Agent
from shared.agents.handoff import Handoff


def as_text(agents: Iterable[Agent]) -> str:
    """Return the handoffs, an agent and its arrows at a time; "" where there are none."""
    lines: list[str] = []
    for agent in agents:
        if agent.handoffs:
            lines.append(f"{agent.name}{_needs(agent.requires)}")
            lines += [
                f"  -> {handoff.to}{_needs(handoff.requires)}{_told(handoff)}" for handoff in _of(agent)
            ]
    return "\n".join(lines) + "\n" if lines else ""


def as_mermaid(agents: Iterable[Agent]) -> str:
    """Return a Mermaid flowchart: agents, their tools, and what each arrow needs."""
    lines = ["flowchart LR"]
    listed = list(agents)
    for agent in listed:
        tools = "<br/>".join([*agent.tools, *(f"{server}.*" for server in agent.mcp_servers)])
        lines.append(f'  {_id(agent.name)}["<b>{agent.name}</b>{"<br/>" + tools if tools else ""}"]')
    for agent in listed:
        for handoff in _of(agent):
            label = ", ".join(handoff.requires)
            arrow = f"-- {label} -->" if label else "-->"
            lines.append(f"  {_id(agent.name)} {arrow} {_id(handoff.to)}")
    return "\n".join(lines) + "\n"


def _of(agent: Agent) -> Iterator[Handoff]:
    return iter(agent.handoffs.values())


def _needs(facts: tuple[str, ...]) -> str:
    return f"  [{', '.join(facts)}]" if facts else ""


def _told(handoff: Handoff) -> str:
    names = [name if field.required else f"{name}?" for name, field in handoff.context.items()]
    told = f"  tells {', '.join(names)}" if names else ""
    return told + ("" if handoff.announce else "  (silent)")


def _id(name: str) -> str:
    return name.replace("-", "_")
