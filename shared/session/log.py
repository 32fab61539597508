"""The event log of a session: what mattered, in order, and nothing that did not.

Entries are appended by the owning worker under its epoch, or by the control plane for what
happens outside the conversation. Deltas are never stored. `at_ms` is Unix milliseconds,
taken by whoever saw the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from shared.session.model import FactValue


class TurnStatus(StrEnum):
    """How a spoken turn came out."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"  # the caller spoke over it
    FAILED = "failed"  # the transcription or the response failed


class ToolExecution(StrEnum):
    """Where a tool runs: in the worker, as an orchestration, or nowhere else than in the conversation."""

    INLINE = "inline"
    DURABLE = "durable"
    CONVERSATION = "conversation"  # done by the conversation itself, as ending the call is


class ToolStatus(StrEnum):
    """How a tool call came out. Every call gets exactly one."""

    OK = "ok"
    ERROR = "error"  # it raised, refused, or returned something that cannot be sent
    TIMEOUT = "timeout"
    INVALID = "invalid"  # unknown tool, or arguments that do not fit the schema
    UNKNOWN = "unknown"  # cut off in mid-run; whether it took effect is not known
    CANCELLED = "cancelled"  # the caller spoke, or the call ended, and the tool says that it ends with that


@dataclass(frozen=True, kw_only=True)
class SessionCreated:
    agent: str
    agent_version: str
    transport: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class StateChanged:
    """The session moved; `reason` is an EndReason when it ended, else empty."""

    state: str
    reason: str = ""
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Attached:
    """A worker opened the sideband and the provider confirmed the agent's configuration.

    agent, agent_version: who speaks, and a digest of its files as this worker has them.
    """

    worker: str
    epoch: int
    call_id: str
    took_ms: float
    agent: str = ""
    agent_version: str = ""
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class UserTurn:
    """What the caller said. The transcript can come after the answer; `spoken_at_ms` orders the turns."""

    item_id: str
    text: str
    status: TurnStatus
    spoken_at_ms: int
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class AgentTurn:
    """What the agent said. `first_audio_ms`: end of the caller's speech to the first audio.

    It is -1 where the response answers no speech, and where its audio begins later (AudioStarted).
    """

    item_id: str
    response_id: str
    agent: str
    text: str
    status: TurnStatus
    first_audio_ms: float
    spoken_at_ms: int
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class AudioStarted:
    """The audio of a response whose turn is already recorded began: short ones are done before they sound.

    first_audio_ms: end of the caller's speech to this.
    """

    response_id: str
    first_audio_ms: float
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """The caller spoke over audio of a response whose turn is already recorded; the rest went unheard."""

    response_id: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ToolCalled:
    """A function call of the model, recorded before anything runs. `arguments` is the model's JSON text.

    agent: whose call it is. redact: fields of the arguments that are masked wherever people read this.
    """

    tool_call_id: str
    name: str
    arguments: str
    execution: ToolExecution
    response_id: str
    agent: str = ""
    redact: tuple[str, ...] = ()
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ToolFinished:
    """The one output of a tool call, recorded before it is sent. `output` is JSON text for the model.

    facts: what the server knows from now on; null forgets one.
    redact: fields of the output that are masked wherever people read this.
    """

    tool_call_id: str
    name: str
    status: ToolStatus
    output: str
    duration_ms: float
    facts: Mapping[str, FactValue | None] = field(default_factory=dict[str, FactValue | None], repr=False)
    redact: tuple[str, ...] = ()
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ToolProgressed:
    """A running tool told how far it is, in words for the caller."""

    tool_call_id: str
    text: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ToolMadeDurable:
    """An inline tool call needs a person's approval, so that it goes on as an orchestration."""

    tool_call_id: str
    name: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ToolUndone:
    """What a tool call may have done was undone; without `succeeded`, a person has to look at it."""

    tool_call_id: str
    name: str
    succeeded: bool
    at_ms: int


class ApprovalState(StrEnum):
    """Where an approval is. It leaves `pending` once."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"  # nobody decided in time
    WITHDRAWN = "withdrawn"  # the call ended, and the tool says that it ends with that


@dataclass(frozen=True, kw_only=True)
class ApprovalRequested:
    """A tool call waits for a person. `question` is what they are asked, redacted values masked."""

    approval_id: str
    tool_call_id: str
    tool: str
    question: str
    expires_at_ms: int
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ApprovalDecided:
    """The wait is over. `by` names the approver and `comment` holds their words, where a person decided."""

    approval_id: str
    tool_call_id: str
    state: ApprovalState
    by: str = ""
    comment: str = ""
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """Another agent takes over the call; recorded before it does, together with the call's output.

    context: the names of what was told along; the values are in the call's arguments. stated_reason:
    the value of the context's `reason`, where it has one: the model's words. announce: what is said first,
    word for word; who takes the session over says it where the new agent has said nothing yet.
    """

    tool_call_id: str
    from_agent: str
    to_agent: str
    to_version: str
    context: tuple[str, ...] = ()
    stated_reason: str = ""
    announce: str = ""
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class GuardrailTripped:
    """The agent began to say what it must not; the response was cut off. `rule` is the guardrail's name."""

    rule: str
    agent: str
    response_id: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ResponseUsage:
    """The provider's bill for one response (its whole context each time), and how long that took.

    cost_micros: in millionths of the prices' currency; 0 while no prices are known.
    """

    response_id: str
    status: str
    duration_ms: float
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_micros: int = 0
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ErrorRecorded:
    """Something went wrong and the session knows. `source`: provider, tool, worker or control."""

    source: str
    code: str
    detail: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class CommandReceived:
    """An operator's or client's command from the inbox took effect."""

    command: str
    detail: str = ""
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class HeardOut:
    """The caller has heard what a command had said, to its end or until they spoke over it.

    entry_id: the command's, in the inbox.
    """

    entry_id: str
    interrupted: bool = False
    at_ms: int


class ConsentStep(StrEnum):
    """How far the caller's consent has come."""

    ANNOUNCED = "announced"  # the caller has heard all of what they must be told
    GIVEN = "given"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class ConsentNoted:
    """What became of what callers are told, and asked, before an agent says anything else.

    terms: names the announcement by its words, whichever agent has it. ask: the caller had to agree.
    """

    step: ConsentStep
    terms: str = ""
    ask: bool = False
    at_ms: int


class CallEventKind(StrEnum):
    """What can happen to a phone call on the carrier's side; `asked` is what we asked the carrier for."""

    DECIDED = "decided"  # to answer an inbound call; `detail` says by which rule
    PLACED = "placed"  # the carrier took an outbound call
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    NOT_CONNECTED = "not_connected"  # `detail` says why: an EndReason
    MEDIA_STARTED = "media_started"
    MEDIA_STOPPED = "media_stopped"
    MEDIA_FAILED = "media_failed"
    MEDIA_RESTART_ASKED = "media_restart_asked"
    TRANSFER_ASKED = "transfer_asked"
    TRANSFER_ACCEPTED = "transfer_accepted"
    TRANSFER_FAILED = "transfer_failed"
    PARTICIPANT_ASKED = "participant_asked"
    PARTICIPANT_ADDED = "participant_added"
    PARTICIPANT_FAILED = "participant_failed"
    PARTICIPANTS_CHANGED = "participants_changed"  # `detail` is how many there are
    HELD = "held"
    RESUMED = "resumed"
    HOLD_FAILED = "hold_failed"
    DIGITS_ASKED = "digits_asked"
    DIGITS_SENT = "digits_sent"
    DIGITS_FAILED = "digits_failed"
    RECORDING_ASKED = "recording_asked"  # from here on, by the agent that `detail` names
    RECORDING_PAUSE_ASKED = "recording_pause_asked"  # who speaks from here on is not to be recorded
    RECORDING_STARTED = "recording_started"  # `operation_id` is the recording's, here and below
    RECORDING_PAUSED = "recording_paused"
    RECORDING_RESUMED = "recording_resumed"
    RECORDING_STOPPED = "recording_stopped"
    RECORDING_CHANGED = "recording_changed"  # the carrier tells: `detail` is its state, `operation_id` its id
    RECORDING_FAILED = "recording_failed"
    PLAY_FAILED = "play_failed"


@dataclass(frozen=True, kw_only=True)
class CallEvent:
    """Something happened to the phone call. It never tells who somebody is: no number, no name.

    operation_id: names the request that this answers. detail: a word, as the kind says.
    code, sub_code: the carrier's own, 0 where it gave none.
    """

    event: CallEventKind
    operation_id: str = ""
    detail: str = ""
    code: int = 0
    sub_code: int = 0
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Archived:
    """The transcript was assembled and the session summarised."""

    turns: int
    tools: int
    duration_s: float
    summary: str
    at_ms: int


LogEntry: TypeAlias = (
    SessionCreated
    | StateChanged
    | Attached
    | UserTurn
    | AgentTurn
    | AudioStarted
    | Interrupted
    | ToolCalled
    | ToolFinished
    | ToolProgressed
    | ToolMadeDurable
    | ToolUndone
    | ApprovalRequested
    | ApprovalDecided
    | HandedOver
    | GuardrailTripped
    | ResponseUsage
    | ErrorRecorded
    | CommandReceived
    | HeardOut
    | ConsentNoted
    | CallEvent
    | Archived
)


@dataclass(frozen=True, kw_only=True)
class LoggedEntry:
    """An entry with its place in the log. `entry_id` is the stream id; `epoch` is 0 for the control plane."""

    entry_id: str
    epoch: int
    entry: LogEntry = field()
