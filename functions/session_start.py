"""Starting a session, all or nothing: limits, agent, record, orchestration; undone when a step fails."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from functions.orchestrations import ENDED, SESSION_LIFECYCLE
from functions.routing import chosen_agent, taken_variables
from shared.errors import InvalidRequestError, SidetoneError, UnavailableError
from shared.ids import new_session_id

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from functions.endpoint import Call
    from functions.orchestrations import Orchestrations
    from shared.agents.catalog import Agent
    from shared.session.log import LogEntry
    from shared.session.model import Session, Transport

# A reservation must outlive its session, and lapse by itself when a process dies in between.
_RESERVATION_MARGIN_S = 120
# Calls end and workers are added in about this time.
NO_ROOM_RETRY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """What a session shall be.

    max_live: how many sessions of the principal may be live at a time; None for any number.
    connect_within_s: how long the orchestration waits for the call to be attached.
    direction: of a phone call. first_entries: what its log begins with.
    """

    agent_name: str
    variables: Mapping[str, str]
    transport: Transport
    principal: str
    max_live: int | None
    connect_within_s: float
    traceparent: str
    direction: str = ""
    first_entries: tuple[LogEntry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StartedSession:
    """A session that has a record and an orchestration, and waits for its call."""

    session: Session
    agent: Agent
    provider_session: Mapping[str, object]


@asynccontextmanager
async def started_session(
    call: Call,
    orchestrations: Orchestrations,
    *,
    agent_name: str,
    variables: Mapping[str, str],
    connect_within_s: float,
    language: str = "",
) -> AsyncGenerator[StartedSession]:
    """Start a WebRTC session for the block; when the block fails, the session ends as `provider_failed`.

    language: the caller's, for the router's rules. Raises what `start_session` raises, and `no_route`.
    """
    from shared.agents.router import Arrival
    from shared.session.model import Transport

    needs = call.dependencies
    arrival = Arrival(at=datetime.now(UTC), language=language, variables=variables)
    chosen = await chosen_agent(needs, agent_name, arrival)
    new = NewSession(
        agent_name=chosen,
        variables=await taken_variables(needs, agent_name, chosen, variables),
        transport=Transport.WEBRTC,
        principal=call.caller.principal,
        max_live=needs.settings.max_live_sessions_per_principal,
        connect_within_s=connect_within_s,
        traceparent=call.traceparent,
    )
    started = await start_session(needs, orchestrations, new)
    try:
        yield started
    except BaseException:
        await undo_session(needs, orchestrations, started.session, recorded=True)
        raise


async def start_session(
    needs: Dependencies, orchestrations: Orchestrations, new: NewSession
) -> StartedSession:
    """Start a session, whole or not at all.

    Raises `no_capacity`, `too_many_live_sessions`, `unknown_agent`, `agent_variables`, `agent_not_first`.
    """
    from shared.session.model import Session, SessionState
    from shared.telemetry import metrics

    settings = needs.settings
    await _check_room(needs)
    session = Session(
        session_id=new_session_id(),
        state=SessionState.CREATED,
        transport=new.transport,
        agent=new.agent_name,
        agent_version="",
        principal=new.principal,
        created_at_ms=now_ms(),
        provider=needs.provider.name,
        variables=new.variables,
        traceparent=new.traceparent,
        direction=new.direction,
    )
    longest_s = settings.max_call_duration_s
    if new.max_live is not None:
        await needs.limits.reserve_live(
            new.principal,
            session.session_id,
            new.max_live,
            int(new.connect_within_s) + longest_s + _RESERVATION_MARGIN_S,
        )
    recorded = False
    try:
        agent = (await needs.agents()).get(new.agent_name)
        if agent.requires:
            raise InvalidRequestError(
                "agent_not_first",
                f"{agent.name} takes over only with {', '.join(agent.requires)}, which no call begins with: "
                "start with an agent that hands over to it.",
            )
        configuration = provider_session(needs, agent, session)
        limit = agent.limits.max_duration_s
        session = dataclasses.replace(
            session,
            agent_version=agent.version,
            max_duration_s=longest_s if limit is None else min(longest_s, int(limit)),
        )
        await needs.sessions.create(session)
        recorded = True
        if new.first_entries:
            await needs.log.append(session.session_id, new.first_entries)
        metrics.count_session_started(transport=session.transport.value, agent=session.agent)
        await orchestrations.start_new(
            SESSION_LIFECYCLE,
            session.session_id,
            {
                "session_id": session.session_id,
                "connect_within_s": new.connect_within_s,
                "max_duration_s": session.max_duration_s,
                "traceparent": new.traceparent,
            },
        )
    except BaseException:
        await undo_session(needs, orchestrations, session, recorded=recorded)
        raise
    return StartedSession(session=session, agent=agent, provider_session=configuration)


def provider_session(needs: Dependencies, agent: Agent, session: Session) -> dict[str, object]:
    """Return the realtime service's session for `agent` on this session's transport."""
    from shared.agents.scene import scene_of
    from shared.providers.session_config import realtime_session

    return realtime_session(
        agent,
        variables=session.variables,
        model=needs.settings.realtime_model,
        transcription_model=needs.settings.transcription_model,
        transport=session.transport,
        scene=scene_of(session),
    )


async def _check_room(needs: Dependencies) -> None:
    """Refuse a start that no worker has room for, before a caller waits in vain.

    Sessions that wait for a worker take room too. Callers that start in the same moment may still be
    more than fit; what is over waits in the queue for as long as the connect timeout lets it.
    """
    workers = await needs.workers.snapshot()
    room = sum(max(worker.capacity - worker.live, 0) for worker in workers)
    if room <= await needs.attach_queue.depth():
        raise UnavailableError(
            "no_capacity",
            "No worker has room for another call: try again in a moment, or add workers."
            if workers
            else "No worker runs that could hold the call: try again in a moment, or start one.",
            retry_after_s=NO_ROOM_RETRY_S,
        )


async def undo_session(
    needs: Dependencies, orchestrations: Orchestrations, session: Session, *, recorded: bool
) -> None:
    """Take back what was made. What cannot be taken back now lapses: the reservation by its TTL, the
    session by its orchestration's connect timeout."""
    from shared.session.model import EndReason
    from shared.telemetry.logs import get_logger

    session_id = session.session_id
    try:
        if recorded:
            await needs.sessions.mark_ended(session_id, EndReason.PROVIDER_FAILED, now_ms())
            await orchestrations.raise_event(session_id, ENDED, {"reason": EndReason.PROVIDER_FAILED.value})
        await needs.limits.release_live(session.principal, session_id)
    except SidetoneError as error:
        get_logger("functions.sessions").warning(
            "session_start_not_undone", extra={"session_id": session_id, "code": error.code}
        )


def now_ms() -> int:
    """Return the time in Unix milliseconds."""
    return time.time_ns() // 1_000_000
