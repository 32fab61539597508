"""What the conversation wants done.

The shell's promise: the records of a batch (Record, SetState, CountUsage, SetStanding, ConsumeInbox) are
committed together, under the session's epoch, before any effect of the same batch that is marked
as waiting for them leaves the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from realtime_worker.conversation.wire import part, text
from shared.session.log import LogEntry
from shared.session.model import FactValue, SessionState, Standing, Usage


@dataclass(frozen=True, kw_only=True)
class Record:
    """Append this entry to the session's log."""

    entry: LogEntry


@dataclass(frozen=True, kw_only=True)
class SetState:
    """Move the session; `reason` is an EndReason when it ends."""

    state: SessionState
    reason: str = ""
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class CountUsage:
    """Replace the session's token totals."""

    usage: Usage


@dataclass(frozen=True, kw_only=True)
class SetStanding:
    """Replace who speaks and what is known."""

    standing: Standing


@dataclass(frozen=True, kw_only=True)
class ConsumeInbox:
    """The inbox entry's effects are all in this batch."""

    entry_id: str


@dataclass(frozen=True, kw_only=True)
class Send:
    """Send a client event to the provider; with `after_commit`, once the batch's records are safe."""

    event: Mapping[str, object]
    after_commit: bool = False


@dataclass(frozen=True, kw_only=True)
class RunInline:
    """Run a tool of `agent` in this process; always after its record. `facts`: what is known by then."""

    tool_call_id: str
    name: str
    arguments: str
    agent: str = ""
    facts: Mapping[str, FactValue] = field(default_factory=dict[str, FactValue], repr=False)


@dataclass(frozen=True, kw_only=True)
class CancelTool:
    """Cancel a tool that runs in this process; always after the record of its outcome."""

    tool_call_id: str


@dataclass(frozen=True, kw_only=True)
class StartDurable:
    """Start the orchestration of a tool of `agent`; always after its record, and harmless when repeated."""

    tool_call_id: str
    name: str
    arguments: str
    agent: str = ""


@dataclass(frozen=True, kw_only=True)
class EnterAgent:
    """Prepare `agent` for taking over, and tell `handoff_answered`; always after the record of the call.

    arguments: what the model tells along, its JSON text.
    """

    tool_call_id: str
    agent: str
    arguments: str
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class AskRecording:
    """Have the carrier record the call, or pause that, as the log says by then; harmless when repeated.

    Always after the record of what is wanted. number: of that wish, from 1.
    """

    number: int


@dataclass(frozen=True, kw_only=True)
class PrepareSession:
    """Open another provider session beside the one that is used, and tell `prepared`."""


@dataclass(frozen=True, kw_only=True)
class ChangeSession:
    """Leave the provider session; the conversation goes on in the prepared one, or in a new one."""


@dataclass(frozen=True, kw_only=True)
class HangUp:
    """End the call at the provider; always after the record of the end."""


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The conversation is over: let go of everything."""

    reason: str


RecordEffect: TypeAlias = Record | SetState | CountUsage | SetStanding | ConsumeInbox
OutwardEffect: TypeAlias = (
    Send
    | RunInline
    | CancelTool
    | StartDurable
    | EnterAgent
    | AskRecording
    | PrepareSession
    | ChangeSession
    | HangUp
    | Finish
)
Effect: TypeAlias = RecordEffect | OutwardEffect


def tool_call_of(effect: OutwardEffect) -> str:
    """Return the tool call that `effect` runs or answers, or ""."""
    match effect:
        case RunInline() | CancelTool() | StartDurable() | EnterAgent():
            return effect.tool_call_id
        case Send():
            return text(part(effect.event, "item"), "call_id")
        case AskRecording() | PrepareSession() | ChangeSession() | HangUp() | Finish():
            return ""
