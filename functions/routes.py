"""Every HTTP operation of the control plane, in one table.

The blueprints register their handlers from these rows and the OpenAPI document is built
from the same rows, so the document cannot say something that the app does not do. Body
types are given by name: their module is only imported when a request needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

JSON = "application/json"
SDP = "application/sdp"


class Access(Enum):
    """Who may call an operation."""

    OPEN = "open"  # anybody
    APPLICATION = "application"  # the customer's application: a function key, or an Entra principal
    CLIENT = "client"  # a caller's own client, with its session's client token
    WORKER = "worker"  # our own data plane, with a service token
    SIGNED = "signed"  # a service whose webhooks carry its signature
    CARRIER = "carrier"  # a carrier: its own token in the header, and ours for this call in the address


@dataclass(frozen=True, kw_only=True)
class QueryParameter:
    """A query parameter; `schema` is JSON Schema."""

    name: str
    schema: Mapping[str, object]
    description: str
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A successful answer. `body` names a type of functions.bodies, or is "" for none or for SDP."""

    status: int
    description: str
    body: str = ""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method on one path. `name` is the function's name in Azure and the operationId.

    path: below the host's route prefix, with `{session_id}` where it applies.
    request: names a type of functions.bodies, or "" for none; `sdp` bodies are text.
    problems: the codes an application should know, by HTTP status.
    idempotent_by_key: whether it takes the header Idempotency-Key.
    internal: left out of the public document's audience by a tag, but documented.
    """

    name: str
    method: str
    path: str
    access: Access
    summary: str
    answers: tuple[Answer, ...]
    description: str = ""
    request: str = ""
    request_content_type: str = JSON
    request_required: bool = True
    query: tuple[QueryParameter, ...] = ()
    idempotent_by_key: bool = False
    problems: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    tag: str = "sessions"

    @property
    def of_a_session(self) -> bool:
        """Whether the path names one session."""
        return "{session_id}" in self.path


_SESSION_PROBLEMS = {400: ("invalid_session_id",), 404: ("session_not_found",)}
_START_PROBLEMS = {
    404: ("unknown_agent",),
    429: ("rate_limited", "too_many_live_sessions"),
    502: ("provider_unauthorized", "provider_rejected"),
    503: ("no_capacity",),
}
_LIMIT = QueryParameter(
    name="limit",
    schema={"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
    description="How many sessions to return at most.",
)

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
    problems={**_START_PROBLEMS, 400: ("invalid_json", "invalid_body", "agent_variables")},
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
        400: ("invalid_sdp", "invalid_query", "agent_variables"),
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
    problems=_SESSION_PROBLEMS,
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
    problems=_SESSION_PROBLEMS,
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
    problems=_SESSION_PROBLEMS,
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
    problems=_SESSION_PROBLEMS,
)
_CARRIER_PROBLEMS: Mapping[int, tuple[str, ...]] = {
    502: ("carrier_unauthorized", "carrier_rejected"),
    503: ("acs_not_configured", "carrier_unavailable", "carrier_unreachable", "carrier_rate_limited"),
}
_CONTROL_PROBLEMS: Mapping[int, tuple[str, ...]] = {
    **_CARRIER_PROBLEMS,
    400: ("invalid_session_id", "invalid_idempotency_key"),
    404: ("session_not_found", "call_not_found"),
    409: (
        "session_ended",
        "call_not_established",
        "unsupported_by_carrier",
        "carrier_conflict",
        "delivery_under_way",
    ),
    429: ("rate_limited",),
}
_WITH_BODY = (*_CONTROL_PROBLEMS[400], "invalid_json", "invalid_body")
_OPERATION = Answer(status=202, description="The carrier was asked; its events tell.", body="CallOperation")

PLACE_CALL = Operation(
    name="place_call",
    method="POST",
    path="v1/calls",
    access=Access.APPLICATION,
    tag="phone",
    summary="Call somebody, and let an agent talk to them",
    description=(
        "Whom may be called is in the policy, `telephony.policy.yaml`; without it, nobody. A request that is "
        "sent again with its Idempotency-Key places no second call, and answers with the first one."
    ),
    request="PlaceCall",
    idempotent_by_key=True,
    answers=(
        Answer(
            status=202,
            description="It is being placed; GET tells what comes of it.",
            body="CallView",
            headers={"Location": "The call's path."},
        ),
    ),
    problems={
        400: (
            "invalid_json",
            "invalid_body",
            "invalid_target",
            "invalid_idempotency_key",
            "caller_id_missing",
            "agent_variables",
        ),
        403: ("callee_not_allowed", "caller_id_not_allowed"),
        404: ("unknown_agent", "call_not_found"),
        409: ("unsupported_by_carrier", "carrier_conflict", "session_ended"),
        429: ("rate_limited", "too_many_live_sessions"),
        502: _CARRIER_PROBLEMS[502],
        503: (*_CARRIER_PROBLEMS[503], "no_capacity", "orchestrations_unavailable"),
    },
)
READ_CALL = Operation(
    name="read_call",
    method="GET",
    path="v1/calls/{session_id}",
    access=Access.APPLICATION,
    tag="phone",
    summary="Read how a call is, or how it came out",
    answers=(Answer(status=200, description="The call.", body="CallView"),),
    problems=_SESSION_PROBLEMS,
)
HANG_UP_CALL = Operation(
    name="hang_up_call_of_session",
    method="POST",
    path="v1/calls/{session_id}/hangup",
    access=Access.APPLICATION,
    tag="phone",
    summary="End a call, with a goodbye if you like",
    request="HangUpRequest",
    request_required=False,
    answers=(Answer(status=202, description="The call is ending, or was over already.", body="SessionView"),),
    problems={
        400: ("invalid_session_id", "invalid_json", "invalid_body"),
        404: ("session_not_found",),
        409: ("inbox_full", "session_ended"),
        502: _CARRIER_PROBLEMS[502],
        503: (*_CARRIER_PROBLEMS[503], "orchestrations_unavailable"),
    },
)
TRANSFER = Operation(
    name="transfer_call_of_session",
    method="POST",
    path="v1/calls/{session_id}/transfer",
    access=Access.APPLICATION,
    tag="phone",
    summary="Hand the caller over to a number or user, after an announcement if you like",
    description=(
        "The policy's `outbound` says to whom. The model is told when it fails, and goes on with the caller."
    ),
    request="TransferRequest",
    idempotent_by_key=True,
    answers=(_OPERATION,),
    problems={
        **_CONTROL_PROBLEMS,
        400: (*_WITH_BODY, "invalid_target"),
        403: ("callee_not_allowed",),
        503: (*_CARRIER_PROBLEMS[503], "orchestrations_unavailable"),
    },
)
ADD_PARTICIPANT = Operation(
    name="add_participant",
    method="POST",
    path="v1/calls/{session_id}/participants",
    access=Access.APPLICATION,
    tag="phone",
    summary="Call somebody and take them into the call",
    request="ParticipantRequest",
    idempotent_by_key=True,
    answers=(_OPERATION,),
    problems={
        **_CONTROL_PROBLEMS,
        400: (*_WITH_BODY, "invalid_target"),
        403: ("callee_not_allowed",),
    },
)
HOLD = Operation(
    name="hold_call",
    method="POST",
    path="v1/calls/{session_id}/hold",
    access=Access.APPLICATION,
    tag="phone",
    summary="Let the caller wait: they hear and say nothing",
    idempotent_by_key=True,
    answers=(_OPERATION,),
    problems=_CONTROL_PROBLEMS,
)
RESUME = Operation(
    name="resume_call",
    method="POST",
    path="v1/calls/{session_id}/resume",
    access=Access.APPLICATION,
    tag="phone",
    summary="End the wait",
    idempotent_by_key=True,
    answers=(_OPERATION,),
    problems=_CONTROL_PROBLEMS,
)
SEND_DIGITS = Operation(
    name="send_digits",
    method="POST",
    path="v1/calls/{session_id}/dtmf",
    access=Access.APPLICATION,
    tag="phone",
    summary="Press keys, as for a menu at the other end",
    request="DigitsRequest",
    idempotent_by_key=True,
    answers=(_OPERATION,),
    problems={**_CONTROL_PROBLEMS, 400: _WITH_BODY},
)
START_TOOL_CALL = Operation(
    name="start_tool_call",
    method="POST",
    path="v1/sessions/{session_id}/tool-calls",
    access=Access.WORKER,
    tag="internal",
    summary="Start the orchestration of a durable tool call; starting it twice is harmless",
    request="StartDurableTool",
    answers=(Answer(status=202, description="It runs, or has run.", body="Accepted"),),
    problems={400: ("invalid_body",), 404: ("session_not_found",)},
)
REPORT_LIFECYCLE = Operation(
    name="report_lifecycle",
    method="POST",
    path="v1/sessions/{session_id}/lifecycle",
    access=Access.WORKER,
    tag="internal",
    summary="Tell the session's orchestration that it was attached or has ended; twice or late is harmless",
    request="LifecycleEvent",
    answers=(Answer(status=202, description="Noted.", body="Accepted"),),
    problems={400: ("invalid_body",)},
)
REALTIME_WEBHOOK = Operation(
    name="realtime_webhook",
    method="POST",
    path="v1/webhooks/realtime",
    access=Access.SIGNED,
    tag="webhooks",
    summary="Take the realtime service's webhooks: a phone call rings (`realtime.call.incoming`)",
    description=(
        "Signed as Standard Webhooks prescribe. A delivery has its effect once, however often it is sent; "
        "events of other types are taken and ignored."
    ),
    request="RealtimeWebhook",
    answers=(Answer(status=200, description="Handled, now or before, or ignored."),),
    problems={
        400: ("invalid_json", "invalid_body", "invalid_call_id"),
        409: ("delivery_under_way", "call_of_another_session", "session_ended"),
        502: ("provider_unauthorized",),
        503: ("delivery_too_slow", "orchestrations_unavailable"),
    },
)
ACS_WEBHOOK = Operation(
    name="acs_webhook",
    method="POST",
    path="v1/webhooks/acs/{session_id}",
    access=Access.CARRIER,
    tag="webhooks",
    summary="Take the callbacks of Azure Communication Services about one session's call",
    description=(
        "A CloudEvent, or an array of them. Each event has its effect once, however often it is sent; events "
        "of types that are not known, and elements that are no events, are taken and ignored."
    ),
    query=(
        QueryParameter(
            name="token",
            schema={"type": "string"},
            description="The token that this call's carrier was given for this address.",
            required=True,
        ),
    ),
    answers=(Answer(status=200, description="Handled, now or before, or ignored."),),
    problems={
        400: ("invalid_json", "invalid_session_id"),
        404: ("session_not_found",),
        409: ("delivery_under_way", "call_already_reported", "call_of_another_session", "inbox_full"),
        413: ("body_too_large",),
        502: ("carrier_unauthorized", "carrier_rejected"),
        503: (
            "delivery_too_slow",
            "orchestrations_unavailable",
            "carrier_unavailable",
            "carrier_unreachable",
            "carrier_rate_limited",
        ),
    },
)
HEALTH = Operation(
    name="health",
    method="GET",
    path="v1/health",
    access=Access.OPEN,
    tag="operation",
    summary="Whether the app runs; looks at nothing else",
    answers=(Answer(status=200, description="It runs.", body="Health"),),
)
READY = Operation(
    name="ready",
    method="GET",
    path="v1/ready",
    access=Access.OPEN,
    tag="operation",
    summary="Whether calls can be taken: Redis and the realtime service answer",
    answers=(
        Answer(status=200, description="Calls can be taken.", body="Readiness"),
        Answer(status=503, description="Something that calls need does not answer.", body="Readiness"),
    ),
)
OPENAPI = Operation(
    name="openapi",
    method="GET",
    path="v1/openapi.json",
    access=Access.OPEN,
    tag="operation",
    summary="This document",
    answers=(Answer(status=200, description="An OpenAPI 3.1 document.", body="Document"),),
)

OPERATIONS: tuple[Operation, ...] = (
    CREATE_TOKEN,
    CREATE_SESSION,
    REPORT_CALL,
    HANG_UP,
    LIST_SESSIONS,
    READ_SESSION,
    READ_EVENTS,
    READ_TRANSCRIPT,
    END_SESSION,
    ERASE_SESSION,
    PLACE_CALL,
    READ_CALL,
    HANG_UP_CALL,
    TRANSFER,
    ADD_PARTICIPANT,
    HOLD,
    RESUME,
    SEND_DIGITS,
    START_TOOL_CALL,
    REPORT_LIFECYCLE,
    REALTIME_WEBHOOK,
    ACS_WEBHOOK,
    HEALTH,
    READY,
    OPENAPI,
)
