"""Operations with which people decide what durable tools ask them."""

from __future__ import annotations

from functions.routes.operation import Access, Answer, Operation, QueryParameter

_APPROVAL = {400: ("invalid_approval_id",), 404: ("approval_not_found",)}

LIST_APPROVALS = Operation(
    name="list_approvals",
    method="GET",
    path="v1/approvals",
    access=Access.APPROVER,
    tag="approvals",
    summary="List the approvals that wait for a decision, the oldest first",
    query=(
        QueryParameter(
            name="limit",
            schema={"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
            description="How many to return at most.",
        ),
        QueryParameter(
            name="cursor", schema={"type": "string"}, description="`next` of the page before this one."
        ),
    ),
    answers=(Answer(status=200, description="A page of approvals.", body="ApprovalList"),),
    problems={400: ("invalid_query", "invalid_cursor")},
)
READ_APPROVAL = Operation(
    name="read_approval",
    method="GET",
    path="v1/approvals/{approval_id}",
    access=Access.APPROVER,
    tag="approvals",
    summary="Read an approval, decided or not",
    answers=(Answer(status=200, description="The approval.", body="ApprovalView"),),
    problems=_APPROVAL,
)
DECIDE_APPROVAL = Operation(
    name="decide_approval",
    method="POST",
    path="v1/approvals/{approval_id}",
    access=Access.APPROVER,
    tag="approvals",
    summary="Approve or reject, once",
    description=(
        "The tool goes on at once, also if the call has moved to another worker meanwhile. A 503 means that "
        "the decision may be recorded while its tool was not woken: send it again, and take 409 for a yes."
    ),
    request="ApprovalDecision",
    answers=(Answer(status=200, description="The approval as it is now.", body="ApprovalView"),),
    problems={
        400: ("invalid_approval_id", "invalid_json", "invalid_body"),
        403: ("approver_started_session",),
        404: ("approval_not_found",),
        409: ("approval_decided",),
        410: ("approval_expired", "approval_withdrawn"),
        503: ("orchestrations_unavailable",),
    },
)
