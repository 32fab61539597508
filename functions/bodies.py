"""The JSON bodies of the API: what requests are checked against and what answers are made of.

The same types are the schemas of the OpenAPI document.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.session.jobs import AdjustRecording, LifecycleEvent, StartDurableTool

__all__ = ["AdjustRecording", "LifecycleEvent", "StartDurableTool"]

VariableName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
VariableValue = Annotated[str, msgspec.Meta(max_length=2000)]


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`variables` are values for the agent's prompt.

    `agent` may be left out where agents.router.yaml says who answers; `language` (ISO 639-1) is for that.
    """

    agent: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "router"
    language: Annotated[str, msgspec.Meta(pattern="^([a-z]{2})?$")] = ""
    variables: Annotated[dict[VariableName, VariableValue], msgspec.Meta(max_length=50)] = msgspec.field(
        default_factory=dict[str, str]
    )


class ClientSecretView(msgspec.Struct, kw_only=True, frozen=True):
    """The provider's ephemeral credential. `expires_at` is in Unix seconds."""

    value: str
    expires_at: int


class TokenGranted(msgspec.Struct, kw_only=True, frozen=True):
    """What a client needs to call. `expires_at` (Unix seconds) is the client token's."""

    session_id: str
    agent: str
    client_secret: ClientSecretView
    calls_url: str
    client_token: str
    expires_at: int


class CallReport(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The last path segment of the provider's Location header."""

    call_id: str


class EndRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Why a session shall end, and what the agent says first."""

    reason: Literal["operator_ended", "client_ended"] = "operator_ended"
    goodbye: Annotated[str, msgspec.Meta(max_length=500)] = ""


class RealtimeWebhook(msgspec.Struct, kw_only=True, frozen=True):
    """An event of the realtime service. `data` depends on `type`; `created_at` is in Unix seconds."""

    type: Annotated[str, msgspec.Meta(max_length=128)]
    created_at: float | None = None
    data: object = None


class SipHeader(msgspec.Struct, kw_only=True, frozen=True):
    """A header of a SIP INVITE, as the caller's side sent it."""

    name: str
    value: str


class IncomingSipCall(msgspec.Struct, kw_only=True, frozen=True):
    """`data` of the event `realtime.call.incoming`."""

    call_id: str
    sip_headers: list[SipHeader] = msgspec.field(default_factory=list[SipHeader])


class PlaceCall(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Whom to call, and which agent talks to them.

    to: a number with its country, or a user as the carrier names it. variables: for the agent's prompt.
    caller_id: which of our numbers is shown. ring_s: how long it may ring, in seconds.
    """

    to: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    agent: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    variables: Annotated[dict[VariableName, VariableValue], msgspec.Meta(max_length=50)] = msgspec.field(
        default_factory=dict[str, str]
    )
    caller_id: Annotated[str, msgspec.Meta(max_length=32)] = ""
    ring_s: Annotated[int, msgspec.Meta(ge=1, le=120)] = 45


class HangUpRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Why the call shall end, and what the agent says first."""

    reason: Literal["operator_ended", "answering_machine"] = "operator_ended"
    goodbye: Annotated[str, msgspec.Meta(max_length=500)] = ""


class TransferRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """To whom the caller is handed over, and what the agent says before."""

    target: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    announcement: Annotated[str, msgspec.Meta(max_length=500)] = ""


class ParticipantRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Who is called and taken into the call. ring_s: how long it may ring, in seconds."""

    target: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    ring_s: Annotated[int, msgspec.Meta(ge=5, le=120)] = 30


class DigitsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Keys of a telephone, pressed one after the other."""

    digits: Annotated[str, msgspec.Meta(pattern="^[0-9A-Da-d*#]{1,32}$")]


class CallOperation(msgspec.Struct, kw_only=True, frozen=True):
    """What was asked of the carrier. Events of the call that answer it have its `operation_id`."""

    session_id: str
    operation: str
    operation_id: str


class CallEventView(msgspec.Struct, kw_only=True, frozen=True):
    """Something that happened to the call. code, sub_code: the carrier's own, 0 where it gave none."""

    event: str
    operation_id: str | None
    detail: str | None
    code: int
    sub_code: int
    at: str


class CallView(msgspec.Struct, kw_only=True, frozen=True):
    """A phone call. `session_id` names it; times are ISO 8601, UTC.

    outcome: how it came out, null while it lasts: `answered`, `transferred`, `answering_machine`,
    `no_answer`, `busy`, `declined`, `unreachable`, `cancelled` (ended before it was answered) or `failed`.
    """

    session_id: str
    direction: Literal["inbound", "outbound"] | None
    status: Literal["ringing", "connected", "ended"]
    outcome: str | None
    agent: str
    transport: str
    call_id: str | None
    created_at: str
    answered_at: str | None
    ended_at: str | None
    end_reason: str | None
    duration_s: float | None
    events: list[CallEventView]


class UsageView(msgspec.Struct, kw_only=True, frozen=True):
    """Token counts summed over the responses of a session.

    cost: what they cost, in the currency of the worker's TOKEN_PRICES; 0 where none are set.
    """

    responses: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: float


class SessionView(msgspec.Struct, kw_only=True, frozen=True):
    """A session. Times are ISO 8601, UTC. `agent` began the call, `current_agent` speaks now.

    `facts`: the names of what tools have made known.
    """

    session_id: str
    state: Literal["created", "connecting", "active", "ended", "archived"]
    transport: str
    agent: str
    agent_version: str
    current_agent: str
    facts: list[str]
    created_at: str
    connected_at: str | None
    ended_at: str | None
    end_reason: str | None
    duration_s: float | None
    max_duration_s: int
    provider: str | None
    call_id: str | None
    attached: bool
    usage: UsageView
    summary: str | None


class SessionList(msgspec.Struct, kw_only=True, frozen=True):
    """`next` is the cursor of the following page, null on the last one."""

    sessions: list[SessionView]
    next: str | None


class EventPage(msgspec.Struct, kw_only=True, frozen=True):
    """Entries of the log: `id`, `epoch`, `type` and the fields of that type.

    `next` is what to pass as `after`; null when the session is over and nothing can follow.
    """

    events: list[dict[str, object]]
    next: str | None


class TurnView(msgspec.Struct, kw_only=True, frozen=True):
    """Something said. `first_audio_ms`: end of the caller's speech to the agent's first audio."""

    speaker: Literal["caller", "agent"]
    agent: str | None
    text: str
    status: str
    spoken_at: str
    first_audio_ms: float | None


class ToolCallView(msgspec.Struct, kw_only=True, frozen=True):
    """Something done. `status` is null while it runs. `arguments` and `output` are JSON texts."""

    tool_call_id: str
    name: str
    execution: str
    arguments: str
    status: str | None
    output: str | None
    duration_ms: float | None
    called_at: str


class TranscriptView(msgspec.Struct, kw_only=True, frozen=True):
    """What was said and done. `final` once the session is archived."""

    session_id: str
    final: bool
    turns: list[TurnView]
    tools: list[ToolCallView]
    summary: str | None


class ApprovalView(msgspec.Struct, kw_only=True, frozen=True):
    """What a tool asks a person. `arguments` is JSON text; what its author hides reads "***"."""

    approval_id: str
    session_id: str
    tool_call_id: str
    agent: str
    tool: str
    question: str
    arguments: str
    state: Literal["pending", "approved", "rejected", "expired", "withdrawn"]
    requested_at: str
    expires_at: str
    decided_at: str | None
    decided_by: str | None
    comment: str | None


class ApprovalList(msgspec.Struct, kw_only=True, frozen=True):
    """`next` is the cursor of the following page, null on the last one."""

    approvals: list[ApprovalView]
    next: str | None


class ApprovalDecision(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`comment` is for the caller: the agent may say it."""

    decision: Literal["approve", "reject"]
    comment: Annotated[str, msgspec.Meta(max_length=500)] = ""


class Accepted(msgspec.Struct, kw_only=True, frozen=True):
    """`changed` is false when the same was asked before."""

    changed: bool


class Health(msgspec.Struct, kw_only=True, frozen=True):
    status: Literal["ok"]


class Check(msgspec.Struct, kw_only=True, frozen=True):
    """One thing that calls need. `code` says what is wrong with it."""

    status: Literal["ok", "failed"]
    took_ms: float
    code: str | None = None


class Readiness(msgspec.Struct, kw_only=True, frozen=True):
    status: Literal["ready", "not_ready"]
    checks: dict[str, Check]


class Problem(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """RFC 9457, with a stable `code`. `trace_id` is given when the fault is the server's."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str = ""
    trace_id: str = ""
