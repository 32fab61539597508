"""The agents that one session can be with, in the version that it began with."""

from __future__ import annotations

from realtime_worker.conversation.consent import ConsentTerms
from realtime_worker.conversation.effects import EnterAgent
from realtime_worker.conversation.role import (
    NO_MANNERS,
    Accepted,
    Declined,
    HandoffAnswer,
    HandoffRule,
    Role,
    ToolManners,
)
from shared.agents.catalog import Agent, AgentCatalog
from shared.agents.scene import scene_of
from shared.errors import SidetoneError
from shared.providers.session_config import realtime_session, session_update
from shared.session.model import Session, Standing
from shared.settings import WorkerSettings
from shared.telemetry.logs import get_logger
from shared.tools.definition import Tool
from shared.tools.parameters import InvalidArgumentsError

_log = get_logger(__name__)


class Team:
    """Makes an agent ready for a conversation: its prompt as the call stands now, its tools, its handoffs.

    The voice belongs to the call: it is that of the agent that began it, whoever speaks.
    """

    def __init__(self, catalog: AgentCatalog, session: Session, settings: WorkerSettings, epoch: int) -> None:
        self._catalog = catalog
        self._session = session
        self._settings = settings
        self._epoch = epoch
        self.first = catalog.get(session.agent)

    def standing(self) -> Standing:
        """Return who speaks, as recorded; where that agent is no more, the one that began the call."""
        session = self._session
        recorded = session.standing or Standing(agent=session.agent, agent_version=session.agent_version)
        if recorded.agent in self._catalog.names:
            return recorded
        _log.error("the agent that speaks is gone", extra={"agent": recorded.agent})
        return Standing(agent=session.agent, agent_version=session.agent_version, facts=recorded.facts)

    def agent(self, name: str) -> Agent:
        """Return an agent of the team; "" is the one that began the call."""
        return self._catalog.get(name) if name else self.first

    @property
    def asks_or_records(self) -> bool:
        """Whether any agent that can come to speak tells callers something first, or has them recorded."""
        waiting, found = [self.first], {self.first.name}
        for agent in waiting:
            if agent.consent or agent.recording:
                return True
            near = {handoff.to for handoff in agent.handoffs.values()} - found
            found |= near
            waiting += [self._catalog.get(name) for name in near]
        return False

    def tool(self, agent: str, name: str) -> Tool | None:
        """Return a tool that an agent has."""
        return self.agent(agent).tools.get(name)

    def role(self, standing: Standing) -> Role:
        """Return the agent that speaks, ready for the call as it stands."""
        agent = self.agent(standing.agent)
        session = realtime_session(
            agent,
            variables=agent.taken(self._session.variables),
            model=self._settings.realtime_model,
            transcription_model=self._settings.transcription_model,
            transport=self._session.transport,
            scene=scene_of(self._session, standing),
            voice=self.first.voice,
            announced=True,  # the conversation sees to it itself
        )
        event_id = f"cfg_{self._epoch}" + (f"_{standing.handoffs}" if standing.handoffs else "")
        return Role(
            agent=agent.name,
            version=agent.version,
            configuration=session_update(session, event_id=event_id),
            farewell=agent.farewell,
            executions={name: tool.execution for name, tool in agent.tools.items()},
            repeatable=frozenset(name for name, tool in agent.tools.items() if tool.idempotent),
            requires={name: tool.requires for name, tool in agent.tools.items() if tool.requires},
            manners={name: manners for name, tool in agent.tools.items() if (manners := _manners(tool))},
            consent=_consent(agent),
            records=agent.recording is not None,
            handoffs={
                name: HandoffRule(to=handoff.to, requires=handoff.requires, announce=handoff.announce)
                for name, handoff in agent.handoffs.items()
            },
        )

    def answer(self, asked: EnterAgent) -> HandoffAnswer:
        """Make the agent ready that a handoff leads to, or say what is wrong with what the model told."""
        before = asked.standing
        handoff = next(
            (one for one in self.agent(before.agent).handoffs.values() if one.to == asked.agent), None
        )
        if handoff is None:
            return Declined(code="unknown_agent", message=f"The call can't be handed to {asked.agent}.")
        try:
            context = handoff.read(asked.arguments)
        except InvalidArgumentsError as error:
            problems = "; ".join(f"{one.field}: {one.problem}" for one in error.problems)
            return Declined(
                code="invalid_arguments",
                message=f"{asked.agent} needs to be told otherwise: {problems}. Correct it, asking the "
                "caller if you have to, and call it again.",
            )
        after = Standing(
            agent=asked.agent,
            agent_version="",
            facts=before.facts,
            previous_agent=before.agent,
            context=context,
            handoffs=before.handoffs + 1,
        )
        try:
            return Accepted(role=self.role(after), context=context)
        except SidetoneError as error:
            _log.error("handoff failed", extra={"agent": asked.agent, "code": error.code})
            message = f"{asked.agent} can't take over now. Tell the caller, and go on yourself."
            return Declined(code="handoff_failed", message=message)


def _consent(agent: Agent) -> ConsentTerms | None:
    terms = agent.consent
    if terms is None:
        return None
    return ConsentTerms(
        name=terms.name, announcement=terms.announcement, ask=terms.ask, goodbye=terms.goodbye
    )


def _manners(tool: Tool) -> ToolManners | None:
    filler = tool.speak_while_running
    manners = ToolManners(
        redact=tool.redact,
        filler=filler.text if filler else "",
        filler_after_ms=round(filler.after_s * 1000) if filler else 0,
        cancellable=tool.cancel_on_interrupt,
    )
    return manners if manners != NO_MANNERS else None
