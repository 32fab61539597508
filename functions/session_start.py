"""Starting a session, all or nothing: limits, agent, record, orchestration; undone when a step fails."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from functions.orchestrations import ENDED, SESSION_LIFECYCLE
from shared.errors import SidetoneError, UnavailableError
from shared.ids import new_session_id

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from functions.endpoint import Call
    from functions.orchestrations import Orchestrations
    from shared.agents.catalog import Agent
    from shared.session.model import Session

# A reservation must outlive its session, and lapse by itself when a process dies in between.
_RESERVATION_MARGIN_S = 120
# Calls end and workers are added in about this time.
NO_ROOM_RETRY_S = 5.0


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
) -> AsyncGenerator[StartedSession]:
    """Start a WebRTC session for the block; when the block fails, the session ends as `provider_failed`.

    connect_within_s: how long the orchestration waits for the call to be attached.
    Raises `no_capacity`, `rate_limited`, `too_many_live_sessions`, `unknown_agent`, `agent_variables`.
    """
    from shared.providers.session_config import realtime_session
    from shared.session.model import Session, SessionState, Transport
    from shared.telemetry import metrics

    needs, principal = call.dependencies, call.caller.principal
    settings = needs.settings
    await _check_room(needs)
    session_id = new_session_id()
    longest_s = settings.max_call_duration_s
    await needs.limits.reserve_live(
        principal,
        session_id,
        settings.max_live_sessions_per_principal,
        int(connect_within_s) + longest_s + _RESERVATION_MARGIN_S,
    )
    session: Session | None = None
    try:
        agent = (await needs.agents()).get(agent_name)
        provider_session = realtime_session(
            agent,
            variables=variables,
            model=settings.realtime_model,
            transcription_model=settings.transcription_model,
            transport=Transport.WEBRTC,
        )
        limit = agent.limits.max_duration_s
        fresh = Session(
            session_id=session_id,
            state=SessionState.CREATED,
            transport=Transport.WEBRTC,
            agent=agent.name,
            agent_version=agent.version,
            principal=principal,
            created_at_ms=now_ms(),
            provider=needs.provider.name,
            max_duration_s=longest_s if limit is None else min(longest_s, int(limit)),
            variables=variables,
            traceparent=call.traceparent,
        )
        await needs.sessions.create(fresh)
        session = fresh
        metrics.count_session_started(transport=fresh.transport.value, agent=fresh.agent)
        await orchestrations.start_new(
            SESSION_LIFECYCLE,
            session_id,
            {
                "session_id": session_id,
                "connect_within_s": connect_within_s,
                "max_duration_s": session.max_duration_s,
                "traceparent": call.traceparent,
            },
        )
        yield StartedSession(session=session, agent=agent, provider_session=provider_session)
    except BaseException:
        await _undo(call, orchestrations, session_id, recorded=session is not None)
        raise


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


async def _undo(call: Call, orchestrations: Orchestrations, session_id: str, *, recorded: bool) -> None:
    """Take back what was made. What cannot be taken back now lapses: the reservation by its TTL, the
    session by its orchestration's connect timeout."""
    from shared.session.model import EndReason
    from shared.telemetry.logs import get_logger

    needs = call.dependencies
    try:
        if recorded:
            await needs.sessions.mark_ended(session_id, EndReason.PROVIDER_FAILED, now_ms())
            await orchestrations.raise_event(session_id, ENDED, {"reason": EndReason.PROVIDER_FAILED.value})
        await needs.limits.release_live(call.caller.principal, session_id)
    except SidetoneError as error:
        get_logger("functions.sessions").warning(
            "session_start_not_undone", extra={"session_id": session_id, "code": error.code}
        )


def now_ms() -> int:
    """Return the time in Unix milliseconds."""
    return time.time_ns() // 1_000_000
