"""The JSON bodies of the API: what requests are checked against and what answers are made of.

The same types are the schemas of the OpenAPI document.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.session.jobs import LifecycleEvent, StartDurableTool

__all__ = ["LifecycleEvent", "StartDurableTool"]

VariableName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
VariableValue = Annotated[str, msgspec.Meta(max_length=2000)]


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`variables` are values for the agent's prompt."""

    agent: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
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
    """A session. Times are ISO 8601, UTC."""

    session_id: str
    state: Literal["created", "connecting", "active", "ended", "archived"]
    transport: str
    agent: str
    agent_version: str
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
