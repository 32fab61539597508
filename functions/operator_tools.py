"""What operators can do over MCP: the tools, their arguments and their answers.

They are what the routes of the same names do, with the same checks; only the way to them differs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from functions.approvals import approval_view, decide
from functions.authorisation import authorise, check_may_see, check_operator
from functions.bodies import ApprovalDecision, ApprovalList, SessionList, TranscriptView
from functions.endpoint import Call
from functions.orchestrations import Orchestrations
from functions.responses import session_view
from functions.routes.operation import Access
from functions.sessions import transcript_view
from shared.ids import parse_approval_id, parse_session_id
from shared.session.model import SessionState

if TYPE_CHECKING:
    from shared.session.model import Session

Limit = Annotated[int, msgspec.Meta(ge=1, le=100, description="How many to return at most.")]
Cursor = Annotated[str, msgspec.Meta(max_length=200, description="`next` of the page before this one.")]
SessionId = Annotated[str, msgspec.Meta(max_length=64, description="The session's id, ses_…")]
ApprovalId = Annotated[str, msgspec.Meta(max_length=64, description="The approval's id.")]


class _Arguments(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Arguments of a tool."""


class ListSessions(_Arguments, frozen=True):
    """List sessions, newest first."""

    limit: Limit = 20
    cursor: Cursor = ""
    state: Literal["", "created", "connecting", "active", "ended", "archived"] = ""


class GetSession(_Arguments, frozen=True):
    """Read a session: its state, agent, times, end and usage."""

    session_id: SessionId


class GetTranscript(_Arguments, frozen=True):
    """Read what was said and done in a session, in the order it was spoken; the last turns of a long one."""

    session_id: SessionId
    last: Annotated[int, msgspec.Meta(ge=1, le=500, description="How many turns and tool calls.")] = 100


class ListApprovals(_Arguments, frozen=True):
    """List the approvals that wait for a decision, the oldest first. Needs an approver."""

    limit: Limit = 20
    cursor: Annotated[str, msgspec.Meta(max_length=64, description="`next` of the page before.")] = ""


class DecideApproval(_Arguments, frozen=True):
    """Approve or reject what a tool asks in a call, once and for good. Needs an approver."""

    approval_id: ApprovalId
    decision: Literal["approve", "reject"]
    comment: Annotated[str, msgspec.Meta(max_length=500, description="Told to the caller.")] = ""


@dataclass(frozen=True, kw_only=True)
class OperatorTool:
    """A tool: its arguments' type, whose docstring describes it, and what it does.

    reads_only: whether it changes nothing.
    """

    name: str
    arguments: type[_Arguments]
    run: Callable[[Call, Orchestrations, Mapping[str, object]], Awaitable[msgspec.Struct]]
    reads_only: bool = True

    @property
    def description(self) -> str:
        return self.arguments.__doc__ or ""

    def schema(self) -> dict[str, object]:
        """Return the JSON schema of the arguments."""
        (_,), components = msgspec.json.schema_components([self.arguments])
        schema = dict(components[self.arguments.__name__])
        return {name: value for name, value in schema.items() if name not in ("title", "description")}


async def _list_sessions(
    call: Call, orchestrations: Orchestrations, given: Mapping[str, object]
) -> SessionList:
    asked = msgspec.convert(given, ListSessions)
    check_operator(call.caller)
    state = SessionState(asked.state) if asked.state else None
    page = await call.dependencies.sessions.page(asked.limit, asked.cursor, state)
    return SessionList(
        sessions=[session_view(session) for session in page.sessions], next=page.next_cursor or None
    )


async def _get_session(
    call: Call, orchestrations: Orchestrations, given: Mapping[str, object]
) -> msgspec.Struct:
    return session_view(await _visible(call, msgspec.convert(given, GetSession).session_id))


async def _get_transcript(
    call: Call, orchestrations: Orchestrations, given: Mapping[str, object]
) -> TranscriptView:
    asked = msgspec.convert(given, GetTranscript)
    session = await _visible(call, asked.session_id)
    whole = transcript_view(session, await call.dependencies.log.read_all(session.session_id))
    return msgspec.structs.replace(whole, turns=whole.turns[-asked.last :], tools=whole.tools[-asked.last :])


async def _list_approvals(
    call: Call, orchestrations: Orchestrations, given: Mapping[str, object]
) -> ApprovalList:
    asked = msgspec.convert(given, ListApprovals)
    _approver(call)
    page = await call.dependencies.approvals.pending(asked.limit, asked.cursor)
    return ApprovalList(
        approvals=[approval_view(record) for record in page.approvals], next=page.next_cursor or None
    )


async def _decide_approval(
    call: Call, orchestrations: Orchestrations, given: Mapping[str, object]
) -> msgspec.Struct:
    asked = msgspec.convert(given, DecideApproval)
    decision = ApprovalDecision(decision=asked.decision, comment=asked.comment)
    approval_id = parse_approval_id(asked.approval_id)
    return approval_view(await decide(_approver(call), orchestrations, approval_id, decision))


async def _visible(call: Call, session_id: str) -> Session:
    parse_session_id(session_id)
    session = await call.dependencies.sessions.get(session_id)
    check_may_see(call.caller, session)
    return session


def _approver(call: Call) -> Call:
    """Return the call as an approver's; raises the 401 or 403 that says what is missing for that."""
    return replace(call, caller=authorise(call.request, Access.APPROVER, "", call.dependencies))


_ALL = (
    OperatorTool(name="list_sessions", arguments=ListSessions, run=_list_sessions),
    OperatorTool(name="get_session", arguments=GetSession, run=_get_session),
    OperatorTool(name="get_transcript", arguments=GetTranscript, run=_get_transcript),
    OperatorTool(name="list_approvals", arguments=ListApprovals, run=_list_approvals),
    OperatorTool(name="decide_approval", arguments=DecideApproval, run=_decide_approval, reads_only=False),
)
TOOLS: Mapping[str, OperatorTool] = {tool.name: tool for tool in _ALL}
