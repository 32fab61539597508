"""The steps of a durable tool's orchestration that are about a person's approval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.durable_functions as df

from functions.durable import Payload, activity, number, text
from functions.tool_calls import ASK_APPROVAL, SETTLE_APPROVAL
from shared.errors import NotFoundError
from shared.ids import approval_id_of

if TYPE_CHECKING:
    from functions.dependencies import Dependencies

blueprint = df.Blueprint()

_SPAN = "tool_call"
_WAITING = (
    "{tool} needs the approval of a person, who has been asked just now. Tell the caller that it waits for "
    "that, and that you can go on with something else meanwhile. Its result comes by itself: do not call it "
    "again for this, and do not say that it is done."
)


@activity(blueprint, ASK_APPROVAL, span_name=f"{_SPAN} ask_approval")
async def ask_approval(payload: Payload, needs: Dependencies) -> Payload:
    """Ask for the approval, have the caller told, and return how it is; repeating it changes nothing."""
    from functions.session_start import now_ms
    from shared.security.field_masking import mask_fields
    from shared.session.approvals import ApprovalRecord
    from shared.session.commands import Tell
    from shared.session.log import ApprovalRequested

    session_id, tool_call_id = text(payload, "session_id"), text(payload, "tool_call_id")
    tool = text(payload, "tool")
    redact = payload.get("redact")
    hidden = [str(name) for name in redact] if isinstance(redact, list) else []
    try:
        session = await needs.sessions.get(session_id)
    except NotFoundError:
        return {"state": "withdrawn"}
    record = await needs.approvals.ask(
        ApprovalRecord(
            approval_id=approval_id_of(session_id, tool_call_id),
            session_id=session_id,
            tool_call_id=tool_call_id,
            agent=text(payload, "agent"),
            tool=tool,
            question=text(payload, "question"),
            arguments=mask_fields(text(payload, "arguments"), hidden),
            requested_at_ms=0,
            expires_at_ms=0,
        ),
        number(payload, "expires_s"),
    )
    entry = ApprovalRequested(
        approval_id=record.approval_id,
        tool_call_id=tool_call_id,
        tool=tool,
        question=record.question,
        expires_at_ms=record.expires_at_ms,
        at_ms=now_ms(),
    )
    await needs.log.append(session_id, [entry], dedupe=f"asked:{record.approval_id}")
    if session.live:
        await needs.inbox.put(
            session_id,
            Tell(text=_WAITING.format(tool=tool)),
            dedupe=f"asked:{record.approval_id}",
            traceparent=text(payload, "traceparent"),
        )
    return await _settled(payload, needs)


@activity(blueprint, SETTLE_APPROVAL, span_name=f"{_SPAN} settle_approval")
async def settle_approval(payload: Payload, needs: Dependencies) -> Payload:
    """Return how the approval is: state, and by and comment where a person has decided."""
    return await _settled(payload, needs)


async def _settled(payload: Payload, needs: Dependencies) -> Payload:
    from functions.session_start import now_ms
    from shared.session.log import ApprovalDecided, ApprovalState

    session_id, tool_call_id = text(payload, "session_id"), text(payload, "tool_call_id")
    approval_id = approval_id_of(session_id, tool_call_id)
    try:
        live = (await needs.sessions.get(session_id)).live
        withdraw = bool(payload.get("withdraw")) or (bool(payload.get("cancels")) and not live)
        found = await needs.approvals.settle(approval_id, withdraw=withdraw)
        if found is not None and found.state is ApprovalState.PENDING:
            return {"state": "pending"}
        state = found.state if found else ApprovalState.EXPIRED
        by, comment = (found.decided_by, found.comment) if found else ("", "")
        entry = ApprovalDecided(
            approval_id=approval_id,
            tool_call_id=tool_call_id,
            state=state,
            by=by,
            comment=comment,
            at_ms=(found.decided_at_ms if found else 0) or now_ms(),
        )
        await needs.log.append(session_id, [entry], dedupe=f"decided:{approval_id}")
    except NotFoundError:  # the session was erased
        return {"state": "withdrawn"}
    return {"approval_id": approval_id, "state": state.value, "by": by, "comment": comment}
