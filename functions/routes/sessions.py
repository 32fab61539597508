"""Operations that read, end and erase sessions."""

from __future__ import annotations

from functions.routes.operation import Access, Answer, Operation, QueryParameter
from functions.routes.problems import SESSION_PROBLEMS

_LIMIT = QueryParameter(
    name="limit",
    schema={"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
    description="How many sessions to return at most.",
)
LIST_SESSIONS = Operation(
    name="list_sessions",
    method="GET",
    path="v1/sessions",
    access=Access.APPLICATION,
    summary="List sessions, newest first",
    query=(
        _LIMIT,
        QueryParameter(
            name="cursor", schema={"type": "string"}, description="`next` of the page before this one."
        ),
        QueryParameter(
            name="state",
            schema={"type": "string", "enum": ["created", "connecting", "active", "ended", "archived"]},
            description="Only sessions in this state.",
        ),
    ),
    answers=(Answer(status=200, description="A page of sessions.", body="SessionList"),),
    problems={400: ("invalid_query", "invalid_cursor")},
)
READ_SESSION = Operation(
    name="read_session",
    method="GET",
    path="v1/sessions/{session_id}",
    access=Access.APPLICATION,
    summary="Read a session",
    answers=(Answer(status=200, description="The session.", body="SessionView"),),
    problems=SESSION_PROBLEMS,
)
READ_EVENTS = Operation(
    name="read_events",
    method="GET",
    path="v1/sessions/{session_id}/events",
    access=Access.APPLICATION,
    summary="Read the session's event log, oldest first",
    description="Follow a live session by passing `next` as `after`, with `wait_s` to wait for news.",
    query=(
        QueryParameter(
            name="after",
            schema={"type": "string", "pattern": r"^[0-9]{1,20}-[0-9]{1,20}$", "default": "0-0"},
            description="Only entries after this id.",
        ),
        QueryParameter(
            name="limit",
            schema={"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
            description="How many entries to return at most.",
        ),
        QueryParameter(
            name="wait_s",
            schema={"type": "integer", "minimum": 0, "maximum": 20, "default": 0},
            description="How long to wait for an entry when there is none yet, in seconds.",
        ),
    ),
    answers=(Answer(status=200, description="A page of the log.", body="EventPage"),),
    problems={400: ("invalid_session_id", "invalid_query"), 404: ("session_not_found",)},
)
READ_TRANSCRIPT = Operation(
    name="read_transcript",
    method="GET",
    path="v1/sessions/{session_id}/transcript",
    access=Access.APPLICATION,
    summary="Read what was said and done, in the order it was spoken",
    answers=(Answer(status=200, description="The transcript so far.", body="TranscriptView"),),
    problems=SESSION_PROBLEMS,
)
END_SESSION = Operation(
    name="end_session",
    method="POST",
    path="v1/sessions/{session_id}/end",
    access=Access.APPLICATION,
    summary="End a session's call, with a goodbye if you like",
    request="EndRequest",
    request_required=False,
    answers=(Answer(status=202, description="The call is ending, or was over already.", body="SessionView"),),
    problems={400: ("invalid_session_id", "invalid_json", "invalid_body"), 404: ("session_not_found",)},
)
ERASE_SESSION = Operation(
    name="erase_session",
    method="DELETE",
    path="v1/sessions/{session_id}",
    access=Access.APPLICATION,
    summary="End a session if it is live, and erase everything that is kept of it",
    answers=(Answer(status=204, description="Nothing of the session is left."),),
    problems=SESSION_PROBLEMS,
)
