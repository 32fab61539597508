"""Ending a session from outside the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.carriers import hang_up
from functions.orchestrations import ENDED
from functions.session_start import now_ms

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from functions.endpoint import Call
    from functions.orchestrations import Orchestrations
    from shared.session.model import EndReason, Session


async def end_session(
    call: Call, orchestrations: Orchestrations, session: Session, *, reason: EndReason, goodbye: str = ""
) -> Session:
    """End `session` and return it as it then is; a session that is over stays as it is.

    With a worker attached, the command goes to its inbox, so that the agent can say goodbye and the
    worker closes the books. Before that nobody reads the inbox: the session ends at once, and a worker
    that is about to attach is turned away.
    """
    from shared.session.commands import EndCall
    from shared.session.model import SessionState

    needs = call.dependencies
    session_id = session.session_id
    if not session.live:
        return session
    if session.state is SessionState.ACTIVE:
        await needs.inbox.put(
            session_id, EndCall(reason=reason.value, goodbye=goodbye), traceparent=call.traceparent
        )
        return session
    await end_at_once(needs, orchestrations, session_id, reason)
    return await needs.sessions.get(session_id)


async def end_by_carrier(
    needs: Dependencies,
    orchestrations: Orchestrations,
    session: Session,
    reason: EndReason,
    traceparent: str,
) -> None:
    """End a session because its carrier says that the call is over; the first reason stays."""
    from shared.session.commands import EndCall
    from shared.session.model import SessionState

    if not session.live:
        return
    if session.state is not SessionState.ACTIVE:
        await end_at_once(needs, orchestrations, session.session_id, reason)
        return
    # The worker closes the books: it may still be writing down what was said last.
    command = EndCall(reason=reason.value)
    await needs.inbox.put(session.session_id, command, dedupe="carrier_ended", traceparent=traceparent)


async def end_at_once(
    needs: Dependencies, orchestrations: Orchestrations, session_id: str, reason: EndReason
) -> None:
    """End a session that no worker has attached to, and hang up."""
    await needs.sessions.mark_ended(session_id, reason, now_ms())
    told = await orchestrations.raise_event(session_id, ENDED, {"reason": reason.value})
    if not told:  # else the orchestration hangs up
        await hang_up(needs, await needs.sessions.get(session_id))
