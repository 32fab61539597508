"""Operations that place phone calls and control them."""

from __future__ import annotations

from collections.abc import Mapping

from functions.routes.operation import Access, Answer, Operation
from functions.routes.problems import CARRIER_PROBLEMS, SESSION_PROBLEMS

_CONTROL_PROBLEMS: Mapping[int, tuple[str, ...]] = {
    **CARRIER_PROBLEMS,
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
            "agent_not_first",
        ),
        403: ("callee_not_allowed", "caller_id_not_allowed"),
        404: ("unknown_agent", "call_not_found"),
        409: ("unsupported_by_carrier", "carrier_conflict", "session_ended"),
        429: ("rate_limited", "too_many_live_sessions"),
        502: CARRIER_PROBLEMS[502],
        503: (*CARRIER_PROBLEMS[503], "no_capacity", "orchestrations_unavailable"),
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
    problems=SESSION_PROBLEMS,
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
        502: CARRIER_PROBLEMS[502],
        503: (*CARRIER_PROBLEMS[503], "orchestrations_unavailable"),
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
        503: (*CARRIER_PROBLEMS[503], "orchestrations_unavailable"),
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
