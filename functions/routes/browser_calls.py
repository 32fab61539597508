"""Operations with which a browser's call begins and ends."""

from __future__ import annotations

from functions.routes.operation import SDP, Access, Answer, Operation, QueryParameter
from functions.routes.problems import SESSION_PROBLEMS

_START_PROBLEMS = {
    404: ("unknown_agent",),
    429: ("rate_limited", "too_many_live_sessions"),
    502: ("provider_unauthorized", "provider_rejected"),
    503: ("no_capacity",),
}
_AGENT_PROBLEMS = ("agent_variables", "agent_not_first", "no_route")
CREATE_TOKEN = Operation(
    name="create_token",
    method="POST",
    path="v1/token",
    access=Access.APPLICATION,
    tag="calls",
    summary="Start a session for a client that posts its own SDP offer",
    description=(
        "Answers with an ephemeral secret that is bound to the agent's configuration, the URL for the SDP "
        "offer, and a client token for what the client may do to this session."
    ),
    request="TokenRequest",
    answers=(Answer(status=201, description="The session waits for its call.", body="TokenGranted"),),
    problems={**_START_PROBLEMS, 400: ("invalid_json", "invalid_body", *_AGENT_PROBLEMS)},
)
CREATE_SESSION = Operation(
    name="create_session",
    method="POST",
    path="v1/sessions",
    access=Access.APPLICATION,
    tag="calls",
    summary="Exchange an SDP offer for an answer, with the agent already attached",
    request_content_type=SDP,
    query=(
        QueryParameter(
            name="agent", schema={"type": "string"}, description="The agent that answers.", required=True
        ),
    ),
    answers=(
        Answer(
            status=201,
            description="The SDP answer; an agent is attached to the call.",
            content_type=SDP,
            headers={
                "Location": "The session's path.",
                "x-sidetone-client-token": "A token for what the client may do to this session.",
            },
        ),
    ),
    problems={
        **_START_PROBLEMS,
        400: ("invalid_sdp", "invalid_query", *_AGENT_PROBLEMS),
        409: ("session_ended",),
        503: ("no_capacity", "no_worker_attached"),
    },
)
REPORT_CALL = Operation(
    name="report_call",
    method="POST",
    path="v1/sessions/{session_id}/call",
    access=Access.CLIENT,
    tag="calls",
    summary="Report the call id that the provider's Location header gave",
    request="CallReport",
    answers=(Answer(status=202, description="A worker attaches to the call.", body="SessionView"),),
    problems={
        400: ("invalid_call_id", "invalid_json", "invalid_body"),
        404: ("session_not_found",),
        409: ("call_already_reported", "call_of_another_session", "session_ended"),
    },
)
HANG_UP = Operation(
    name="hang_up",
    method="DELETE",
    path="v1/sessions/{session_id}/call",
    access=Access.CLIENT,
    tag="calls",
    summary="Hang up, from the caller's own client",
    answers=(Answer(status=202, description="The call is ending.", body="SessionView"),),
    problems=SESSION_PROBLEMS,
)
