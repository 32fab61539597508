"""All agents of a directory, read and checked together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.agents.agent import Agent, TurnDetection
from shared.agents.loader import load_all
from shared.agents.problems import AgentLoadError, Problem
from shared.errors import NotFoundError

__all__ = ["Agent", "AgentCatalog", "AgentLoadError", "TurnDetection", "load_agents"]


class AgentCatalog:
    """The agents by name."""

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = dict(sorted(agents.items()))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._agents)

    def get(self, name: str) -> Agent:
        """Return the agent called `name`; raises NotFoundError "unknown_agent" naming the known ones."""
        agent = self._agents.get(name)
        if agent is None:
            raise NotFoundError(
                "unknown_agent", f"There is no agent {name[:64]!r}; there are: {', '.join(self._agents)}."
            )
        return agent

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents.values())

    def __len__(self) -> int:
        return len(self._agents)


def load_agents(directory: str | Path) -> AgentCatalog:
    """Return the agents that `directory` holds: every *.yaml in it whose stem has no dot is one.

    A file such as member_services.rules.yaml belongs to its agent and is not one. Prompts are named
    relative to the directory, tools relative to its `tools` folder.

    Raises AgentLoadError with everything that is wrong with all files.
    """
    root = Path(directory)
    files = sorted(
        file for file in root.glob("*") if file.suffix in (".yaml", ".yml") and "." not in file.stem
    )
    if not files:
        what = "holds no agent" if root.is_dir() else "is not a directory"
        fix = "An agent is a file <name>.yaml; AGENTS_DIR says where they are."
        raise AgentLoadError([Problem(file=root, line=0, field="", message=f"{what}.", fix=fix)])
    return AgentCatalog({agent.name: agent for agent in load_all(root, files)})
