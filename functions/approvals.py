"""Approvals: what durable tools ask people, and what they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.durable_functions as df
import azure.functions as func

from functions.endpoint import Call, durable_endpoint, endpoint
from functions.orchestrations import DECIDED, Orchestrations
from functions.requests import json_body, whole_number
from functions.responses import iso_time, json_answer
from functions.routes import approvals as routes
from shared.errors import ConflictError, ForbiddenError, InvalidRequestError, NotFoundError
from shared.ids import parse_approval_id, tool_instance_id

if TYPE_CHECKING:
    from functions.bodies import ApprovalDecision, ApprovalView
    from shared.session.approvals import ApprovalRecord

blueprint = df.Blueprint()

_LONGEST_CURSOR = 64


@endpoint(blueprint, routes.LIST_APPROVALS)
async def list_approvals(call: Call) -> func.HttpResponse:
    """Return a page of what waits for a decision."""
    from functions.bodies import ApprovalList

    limit = whole_number(call.request, "limit", default=50, least=1, most=100)
    cursor = call.request.params.get("cursor", "")
    if len(cursor) > _LONGEST_CURSOR:
        raise InvalidRequestError("invalid_query", "cursor must be `next` of an earlier page.")
    page = await call.dependencies.approvals.pending(limit, cursor)
    views = [approval_view(record) for record in page.approvals]
    return json_answer(ApprovalList(approvals=views, next=page.next_cursor or None))


@endpoint(blueprint, routes.READ_APPROVAL)
async def read_approval(call: Call) -> func.HttpResponse:
    """Return one approval, as it is now."""
    approval_id = _approval_id(call)
    found = await call.dependencies.approvals.settle(approval_id, withdraw=False)
    if found is None:
        raise NotFoundError("approval_not_found", f"There is no approval {approval_id}, or not any more.")
    return json_answer(approval_view(found))


@durable_endpoint(blueprint, routes.DECIDE_APPROVAL)
async def decide_approval(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Record the decision, once, and wake the tool that waits for it.

    The record comes first: a tool that is not woken finds it by itself, later.
    """
    from functions.bodies import ApprovalDecision

    approval_id = _approval_id(call)
    asked = json_body(call.request, ApprovalDecision)
    return json_answer(approval_view(await decide(call, orchestrations, approval_id, asked)))


async def decide(
    call: Call, orchestrations: Orchestrations, approval_id: str, asked: ApprovalDecision
) -> ApprovalRecord:
    """Record an approver's decision and wake the tool that waits for it; return the approval as it is now."""
    approvals = call.dependencies.approvals
    waiting = await approvals.get(approval_id)
    await _check_other_person(call, waiting)
    instance_id = tool_instance_id(waiting.session_id, waiting.tool_call_id)
    try:
        decided = await approvals.decide(
            approval_id,
            approve=asked.decision == "approve",
            by=call.caller.name or call.caller.principal,
            comment=" ".join(asked.comment.split()),
        )
    except ConflictError:
        await orchestrations.raise_event(instance_id, DECIDED, {})  # whoever decided may have failed to
        raise
    await orchestrations.raise_event(instance_id, DECIDED, {})
    return decided


async def _check_other_person(call: Call, approval: ApprovalRecord) -> None:
    """Raise 403 `approver_started_session` for the one whose own call asks."""
    try:
        session = await call.dependencies.sessions.get(approval.session_id)
    except NotFoundError:
        return
    if session.principal == call.caller.principal:
        raise ForbiddenError(
            "approver_started_session", "Somebody else has to decide: you started this session yourself."
        )


def _approval_id(call: Call) -> str:
    return parse_approval_id(call.request.route_params.get("approval_id", ""))


def approval_view(record: ApprovalRecord) -> ApprovalView:
    """Return an approval as it is shown."""
    from functions.bodies import ApprovalView

    return ApprovalView(
        approval_id=record.approval_id,
        session_id=record.session_id,
        tool_call_id=record.tool_call_id,
        agent=record.agent,
        tool=record.tool,
        question=record.question,
        arguments=record.arguments,
        state=record.state.value,
        requested_at=iso_time(record.requested_at_ms),
        expires_at=iso_time(record.expires_at_ms),
        decided_at=iso_time(record.decided_at_ms) if record.decided_at_ms else None,
        decided_by=record.decided_by or None,
        comment=record.comment or None,
    )
