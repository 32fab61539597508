"""Calling somebody: policy, session, carrier; all or nothing, and once for each key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from functions.carriers import carrier_of, hang_up
from functions.session_end import end_at_once
from functions.session_start import NewSession, now_ms, start_session, undo_session
from shared.errors import SidetoneError

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from functions.orchestrations import Orchestrations
    from shared.session.model import Session
    from shared.telephony.outbound import Target

# All outbound calls share one limit, whoever asks for them.
OUTBOUND_PRINCIPAL = "outbound:acs"


@dataclass(frozen=True, kw_only=True)
class OutboundCall:
    """A call to be made. key: two requests of one principal with the same key mean one call."""

    target: Target
    agent: str
    variables: Mapping[str, str] = field(repr=False)
    caller_id: str = field(repr=False)
    ring_s: int
    principal: str
    traceparent: str
    key: str = ""


async def place_call(needs: Dependencies, orchestrations: Orchestrations, asked: OutboundCall) -> Session:
    """Place the call and return its session; what comes of it, the carrier's callbacks tell.

    Raises `callee_not_allowed`, `caller_id_not_allowed`, `caller_id_missing`, `acs_not_configured`, what
    `start_session` raises, and the carrier's errors; after those the session has ended, and a call that
    comes up all the same is hung up.
    """
    from shared.session.log import CallEvent, CallEventKind

    carrier = carrier_of(needs)
    policy = (await needs.inbound_policy()).outbound
    policy.check(asked.target)
    caller_id = policy.check_caller_id(asked.caller_id, carrier.phone_number)
    name = _name(asked)
    if name and (known := await needs.sessions.session_of_call(name)):
        return await needs.sessions.get(known)
    session = await _started(needs, orchestrations, asked, caller_id, policy.max_live_calls)
    session_id = session.session_id
    try:
        if name and (whose := await needs.sessions.claim_call(session_id, name)) != session_id:
            await undo_session(needs, orchestrations, session, recorded=True)
            return await needs.sessions.get(whose)  # a request beside this one was faster
        await needs.sessions.begin(session_id, needs.provider.name)
        call_id = await carrier.place(session, asked.target, caller_id)
        placed = CallEvent(event=CallEventKind.PLACED, at_ms=now_ms())
        await needs.log.append(session_id, [placed])
        if call_id:
            session = await needs.sessions.name_call(session_id, call_id)
            if not session.live:
                await hang_up(needs, session)
    except BaseException as error:
        await _give_up(needs, orchestrations, session, error)
        raise
    return await needs.sessions.get(session_id)


async def _started(
    needs: Dependencies,
    orchestrations: Orchestrations,
    asked: OutboundCall,
    caller_id: str,
    max_live_calls: int | None,
) -> Session:
    from shared.session.model import Direction, Transport
    from shared.telephony.calls import InboundCall
    from shared.telephony.policy import variables_of

    agent = (await needs.agents()).get(asked.agent)
    parties = InboundCall(
        call_id="",
        transport=Transport.ACS,
        caller=caller_id,
        called=asked.target.address if asked.target.is_phone else "",
    )
    new = NewSession(
        agent_name=asked.agent,
        variables={**variables_of(parties, agent), **asked.variables},
        transport=Transport.ACS,
        principal=OUTBOUND_PRINCIPAL,
        max_live=max_live_calls,
        connect_within_s=asked.ring_s + needs.settings.connect_timeout_s,
        traceparent=asked.traceparent,
        direction=Direction.OUTBOUND.value,
    )
    return (await start_session(needs, orchestrations, new)).session


async def _give_up(
    needs: Dependencies, orchestrations: Orchestrations, session: Session, failure: BaseException
) -> None:
    """End the session of a call that was not placed, or of which nobody knows."""
    from shared.session.model import EndReason
    from shared.telemetry.logs import get_logger

    log = get_logger("functions.outbound")
    code = failure.code if isinstance(failure, SidetoneError) else type(failure).__name__
    log.warning("outbound_call_not_placed", extra={"session_id": session.session_id, "code": code})
    try:
        await end_at_once(needs, orchestrations, session.session_id, EndReason.PROVIDER_FAILED)
    except SidetoneError as error:  # then its orchestration ends it
        log.warning("session_not_ended", extra={"session_id": session.session_id, "code": error.code})


def _name(asked: OutboundCall) -> str:
    if not asked.key:
        return ""
    digest = hashlib.sha256(f"{len(asked.principal)}:{asked.principal}:{asked.key}".encode()).hexdigest()
    return f"key.{digest[:40]}"
