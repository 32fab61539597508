"""An approval as it is kept: what a person is asked, and what they said."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.session.log import ApprovalState


@dataclass(frozen=True, kw_only=True)
class ApprovalRecord:
    """Times are Unix milliseconds; 0 means not yet.

    arguments: the tool call's, as JSON text, redacted fields masked. question: in the same way.
    decided_by: the approver. comment: their words, which the caller may be told.
    """

    approval_id: str
    session_id: str
    tool_call_id: str
    agent: str
    tool: str
    question: str = field(repr=False)
    arguments: str = field(repr=False)
    requested_at_ms: int
    expires_at_ms: int
    state: ApprovalState = ApprovalState.PENDING
    decided_by: str = ""
    comment: str = field(default="", repr=False)
    decided_at_ms: int = 0
