"""What a prompt may know of the call beside its declared variables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.session.model import FactValue, Session, Standing

SESSION_NAMES = frozenset({"id", "transport", "direction", "date"})
AGENT_NAMES = frozenset({"name", "description", "language"})
FROM_AGENT = "from_agent"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One call at one moment.

    date: when it began, ISO 8601, UTC. direction: inbound or outbound in a phone call, else "".
    facts: what tools have made known. from_agent, context: who handed the call over, and what came along.
    """

    session_id: str = ""
    transport: str = ""
    direction: str = ""
    date: str = ""
    facts: Mapping[str, FactValue] = field(default_factory=dict[str, "FactValue"], repr=False)
    from_agent: str = ""
    context: Mapping[str, FactValue] = field(default_factory=dict[str, "FactValue"], repr=False)


NOWHERE = Scene()


def scene_of(session: Session, standing: Standing | None = None) -> Scene:
    """Return the scene of a session; `standing` in place of the recorded one."""
    now = standing or session.standing
    began = datetime.fromtimestamp(session.created_at_ms / 1000, UTC)
    return Scene(
        session_id=session.session_id,
        transport=session.transport.value,
        direction=session.direction,
        date=began.date().isoformat(),
        facts=now.facts if now else {},
        from_agent=now.previous_agent if now else "",
        context=now.context if now else {},
    )


@dataclass(frozen=True, kw_only=True)
class PromptNames:
    """What an agent's prompt may name after `session.`, `agent.`, `environment.`, `facts.` and `handoff.`.

    environment: with their values. facts: those that tools of the team can set. context: those that
    handoffs to the agent can bring.
    """

    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    facts: Collection[str] = ()
    context: Collection[str] = ()

    def known(self) -> dict[str, Collection[str]]:
        """Return the names by namespace."""
        return {
            "session": SESSION_NAMES,
            "agent": AGENT_NAMES,
            "environment": self.environment.keys(),
            "facts": self.facts,
            "handoff": {FROM_AGENT, *self.context},
        }

    def values(self, scene: Scene, agent: Mapping[str, str]) -> dict[str, SimpleNamespace]:
        """Return the namespaces as a template gets them; what is not known is \"\"."""
        facts = {name: scene.facts.get(name, "") for name in self.facts}
        context = {name: scene.context.get(name, "") for name in self.context}
        return {
            "session": SimpleNamespace(
                id=scene.session_id,
                transport=scene.transport,
                direction=scene.direction,
                date=scene.date,
            ),
            "agent": SimpleNamespace(**agent),
            "environment": SimpleNamespace(**self.environment),
            "facts": SimpleNamespace(**facts),
            "handoff": SimpleNamespace(**{**context, FROM_AGENT: scene.from_agent}),
        }


NAMESPACES = frozenset(PromptNames().known())
