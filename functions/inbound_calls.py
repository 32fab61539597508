"""Taking a call that rings: decide, record, answer, have a worker for it. The same for every carrier.

It can be cut off anywhere and run again for the same call: the call's session is found by the carrier's
name for the ringing call, and what is left to do is done. A worker is asked to attach where the media
reach the model by themselves; where they pass through a worker, the carrier opens its socket there.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from functions.carriers import hang_up
from functions.routing import chosen_agent
from functions.session_end import end_at_once
from functions.session_start import NewSession, now_ms, provider_session, start_session, undo_session
from shared.errors import ConflictError, NotFoundError, SidetoneError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from functions.dependencies import Dependencies
    from functions.orchestrations import Orchestrations
    from functions.session_start import StartedSession
    from shared.session.model import Session
    from shared.telephony.calls import Refusal, RingingCall
    from shared.telephony.policy import Redirect

# After these nobody knows whether the carrier has answered.
_UNSURE = frozenset({"provider_unavailable", "carrier_unavailable"})
_NO_ROOM = frozenset({"no_capacity", "too_many_live_sessions"})
_ANSWER_ATTEMPTS = 2
_ANSWER_PAUSE_S = 0.3


class InboundCalls:
    """Takes calls, each under the trace of the notice that brought it."""

    def __init__(self, needs: Dependencies, orchestrations: Orchestrations, traceparent: str) -> None:
        self._needs = needs
        self._orchestrations = orchestrations
        self._traceparent = traceparent

    async def take(self, ringing: RingingCall) -> None:
        """Answer the call, refuse it or send it elsewhere; return when that is done, or the call is gone.

        Raises a retryable SidetoneError when it is to be tried again with the same call.
        """
        known = await self._needs.sessions.session_of_call(ringing.call.call_id)
        if known is not None:
            await self._go_on(ringing, known)
            return
        started = await self._start(ringing)
        if started is None:
            return
        session = started.session
        try:
            # From here on a repetition finds the session, and goes on with it.
            await self._tie(ringing, session)
        except BaseException:
            await undo_session(self._needs, self._orchestrations, session, recorded=True)
            raise
        await self._answer(ringing, session, started.provider_session, perhaps_answered=False)

    async def _start(self, ringing: RingingCall) -> StartedSession | None:
        """Return a session for the call, or None when it is refused or redirected."""
        from shared.agents.router import Arrival
        from shared.session.log import CallEvent, CallEventKind
        from shared.session.model import Direction
        from shared.telemetry.logs import get_logger
        from shared.telephony.calls import Refusal
        from shared.telephony.policy import Redirect, Refuse, variables_of

        needs, call = self._needs, ringing.call
        try:
            policy = await needs.inbound_policy()
            decision = policy.decide(call, datetime.now(UTC))
            if isinstance(decision, Refuse):
                await self._refuse(ringing, decision.reason)
                return None
            if isinstance(decision, Redirect):
                await self._redirect(ringing, decision)
                return None
            arrival = Arrival(at=datetime.now(UTC), called=call.called, caller=call.caller)
            agent = await chosen_agent(needs, decision.agent, arrival)
            new = NewSession(
                agent_name=agent,
                variables=variables_of(call, (await needs.agents()).get(agent)),
                transport=call.transport,
                # Whoever calls is nobody that we know: all share one principal, and its limit.
                principal=f"inbound:{call.transport.value}",
                max_live=policy.max_live_calls,
                connect_within_s=needs.settings.connect_timeout_s,
                traceparent=self._traceparent,
                direction=Direction.INBOUND.value,
                first_entries=(CallEvent(event=CallEventKind.DECIDED, detail=decision.rule, at_ms=now_ms()),),
            )
            return await start_session(needs, self._orchestrations, new)
        except SidetoneError as error:
            if error.code in _NO_ROOM:
                await self._refuse(ringing, Refusal.NO_ROOM)
                return None
            if error.retryable:
                raise
            get_logger("functions.inbound").error(
                "inbound_call_failed",
                extra={"call_id": call.call_id, "code": error.code, "detail": error.detail},
            )
            await self._refuse(ringing, Refusal.FAULT)
            return None

    async def _go_on(self, ringing: RingingCall, session_id: str) -> None:
        """Do what is left to do for a call that was taken before, and perhaps answered."""
        from shared.session.model import SessionState

        needs = self._needs
        try:
            session = await needs.sessions.get(session_id)
        except NotFoundError:  # erased since
            return
        if session.state not in (SessionState.CREATED, SessionState.CONNECTING):
            return
        if session.transport.carries_media and session.call_id:
            return  # its carrier's callbacks have told that it is up
        agent = (await needs.agents()).get(session.agent)
        configuration = provider_session(needs, agent, session)
        await self._tie(ringing, session)
        await self._answer(ringing, session, configuration, perhaps_answered=True)

    async def _tie(self, ringing: RingingCall, session: Session) -> None:
        """Tie the call to its session, which waits for a worker from now on."""
        sessions, provider = self._needs.sessions, self._needs.provider.name
        session_id, name = session.session_id, ringing.call.call_id
        if not session.transport.carries_media:
            await sessions.report_call(session_id, name, provider)
            return
        if await sessions.claim_call(session_id, name) != session_id:
            raise ConflictError("call_of_another_session", "That call belongs to another session.")
        await sessions.begin(session_id, provider)

    async def _answer(
        self,
        ringing: RingingCall,
        session: Session,
        configuration: Mapping[str, object],
        *,
        perhaps_answered: bool,
    ) -> None:
        """Pick up, and see to it that a worker hears of it.

        perhaps_answered: an attempt before this one may have picked up. Then a refusal to do it again
        says nothing; whether the call is up is for the worker to find out, as it has to anyway.
        """
        from shared.telemetry.logs import bind_session, get_logger

        log = get_logger("functions.inbound")
        call_id = ""
        with bind_session(session.session_id):
            for attempt in range(1, _ANSWER_ATTEMPTS + 1):
                try:
                    call_id = await ringing.answer(session, configuration)
                    break
                except SidetoneError as error:
                    if error.retryable:
                        perhaps_answered |= error.code in _UNSURE
                        if attempt == _ANSWER_ATTEMPTS:
                            raise
                        await asyncio.sleep(_ANSWER_PAUSE_S)
                    elif perhaps_answered:
                        log.info("inbound_call_perhaps_answered", extra={"code": error.code})
                        break
                    else:
                        await self._not_answered(ringing, session, error)
                        return
            if not session.transport.carries_media:
                await self._needs.attach_queue.enqueue(session.session_id, session.traceparent)
            elif call_id:  # else the carrier's first callback tells it
                await self._name(session, call_id)
            log.info("inbound_call_answered", extra={"call_id": ringing.call.call_id, "agent": session.agent})

    async def _name(self, session: Session, call_id: str) -> None:
        """Note what the call is called now; hang it up when its session is over meanwhile."""
        named = await self._needs.sessions.name_call(session.session_id, call_id)
        if not named.live:
            await hang_up(self._needs, named)

    async def _not_answered(self, ringing: RingingCall, session: Session, error: SidetoneError) -> None:
        from shared.session.model import EndReason
        from shared.telemetry.logs import get_logger
        from shared.telephony.calls import Refusal

        reason = EndReason.CALLER_HUNG_UP
        log = get_logger("functions.inbound")
        if error.code == "call_not_found":
            log.info("inbound_call_gone", extra={"call_id": ringing.call.call_id})
        else:
            reason = EndReason.PROVIDER_FAILED
            log.error(
                "inbound_call_failed",
                extra={"call_id": ringing.call.call_id, "code": error.code, "detail": error.detail},
            )
            await self._refuse(ringing, Refusal.FAULT)
        await end_at_once(self._needs, self._orchestrations, session.session_id, reason)

    async def _redirect(self, ringing: RingingCall, redirect: Redirect) -> None:
        """Send the call elsewhere; refuse it where its carrier cannot do that."""
        from shared.telemetry.logs import get_logger
        from shared.telephony.calls import Refusal

        log = get_logger("functions.inbound")
        fields: dict[str, object] = {"call_id": ringing.call.call_id, "rule": redirect.rule}
        try:
            rang = await ringing.redirect(redirect.target)
        except SidetoneError as error:
            if error.retryable:
                raise
            log.warning("inbound_call_not_redirected", extra={**fields, "code": error.code})
            closed = redirect.rule == "closed"
            await self._refuse(ringing, Refusal.CLOSED if closed else Refusal.NUMBER_NOT_SERVED)
            return
        log.info("inbound_call_redirected" if rang else "inbound_call_gone", extra=fields)

    async def _refuse(self, ringing: RingingCall, refusal: Refusal) -> None:
        """Refuse the call. One that cannot be refused rings on until its carrier gives up."""
        from shared.telemetry import metrics
        from shared.telemetry.logs import get_logger

        log = get_logger("functions.inbound")
        fields: dict[str, object] = {"call_id": ringing.call.call_id, "reason": refusal.value}
        try:
            told_as = await ringing.reject(refusal)
        except SidetoneError as error:
            if error.retryable:
                raise
            log.warning("inbound_call_not_refused", extra={**fields, "code": error.code})
            return
        metrics.count_refused(code=refusal.value)
        log.info("inbound_call_refused", extra={**fields, "told_as": told_as or "gone"})
