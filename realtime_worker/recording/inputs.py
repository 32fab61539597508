"""What can go into a conversation: every call of its methods as a value, applicable and storable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

import msgspec

from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.effects import Effect
from realtime_worker.conversation.role import Accepted, Declined
from realtime_worker.recording.effects import masked_facts, masked_role
from realtime_worker.recording.masking import EventMask, Json, mask_json_text, mask_own, mask_text
from shared.session.codec import COMMANDS
from shared.session.commands import EndCall, InboxEntry, ReportProgress, Say, Tell, ToolResult
from shared.session.log import ToolStatus
from shared.session.model import FactValue


@dataclass(frozen=True, kw_only=True)
class Opened:
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Lost:
    pass


@dataclass(frozen=True, kw_only=True)
class Gone:
    handed_over: bool = False
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Failed:
    code: str
    detail: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ProviderSaid:
    event: Mapping[str, object]
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Commanded:
    received: InboxEntry
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ToolEnded:
    tool_call_id: str
    status: ToolStatus
    output: str
    duration_ms: float
    facts: Mapping[str, FactValue | None] = field(default_factory=dict[str, FactValue | None], repr=False)
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class ToolAsked:
    tool_call_id: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Progressed:
    tool_call_id: str
    words: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class HandoffAnswered:
    tool_call_id: str
    accepted: Accepted | None = None
    declined: Declined | None = None
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Tripped:
    rule: str
    response_id: str
    instead: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Ticked:
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Prepared:
    succeeded: bool
    at_ms: int


Input: TypeAlias = (
    Opened
    | Lost
    | Gone
    | Failed
    | ProviderSaid
    | Commanded
    | ToolEnded
    | ToolAsked
    | Progressed
    | HandoffAnswered
    | Tripped
    | Ticked
    | Prepared
)

_TAGS: dict[type[Input], str] = {
    Opened: "opened",
    Lost: "lost",
    Gone: "gone",
    Failed: "failed",
    ProviderSaid: "provider_event",
    Commanded: "command",
    ToolEnded: "tool_finished",
    ToolAsked: "tool_asks",
    Progressed: "tool_progressed",
    HandoffAnswered: "handoff_answered",
    Tripped: "guardrail_tripped",
    Ticked: "tick",
    Prepared: "prepared",
}
_CLASSES = {tag: kind for kind, tag in _TAGS.items()}


def apply(conversation: Conversation, given: Input) -> list[Effect]:
    """Give `given` to a conversation; return the effects."""
    match given:
        case Opened():
            return conversation.opened(given.at_ms)
        case Lost():
            conversation.lost()
            return []
        case Gone():
            return conversation.gone(given.at_ms, handed_over=given.handed_over)
        case Failed():
            return conversation.failed(given.code, given.detail, given.at_ms)
        case ProviderSaid():
            return conversation.provider_event(given.event, given.at_ms)
        case Commanded():
            return conversation.command(given.received, given.at_ms)
        case ToolEnded():
            return conversation.tool_finished(
                given.tool_call_id, given.status, given.output, given.duration_ms, given.at_ms, given.facts
            )
        case ToolAsked():
            return conversation.tool_asks(given.tool_call_id, given.at_ms)
        case Progressed():
            return conversation.tool_progressed(given.tool_call_id, given.words, given.at_ms)
        case HandoffAnswered():
            answer = given.accepted or given.declined or Declined(code="unanswered", message="")
            return conversation.handoff_answered(given.tool_call_id, answer, given.at_ms)
        case Tripped():
            return conversation.guardrail_tripped(given.rule, given.response_id, given.instead, given.at_ms)
        case Ticked():
            return conversation.tick(given.at_ms)
        case Prepared():
            return conversation.prepared(given.at_ms, succeeded=given.succeeded)
        case _:
            assert_never(given)


def masked_input(given: Input, mask: EventMask) -> Json:
    """Return `given` as JSON, masked: `{"in": "<kind>", "at_ms": …, …fields}`."""
    kind: Json = {"in": _TAGS[type(given)]}
    match given:
        case Lost():
            return kind
        case Opened() | Ticked():
            fields: Json = {}
        case Gone():
            fields = {"handed_over": True} if given.handed_over else {}
        case Failed():
            fields = {"code": mask_own("code", given.code), "detail": mask_text(given.detail)}
        case Prepared():
            fields = {"succeeded": given.succeeded}
        case ProviderSaid():
            fields = {"event": mask.mask(given.event)}
        case Commanded():
            fields = {"entry_id": given.received.entry_id, "command": _masked_command(given.received, mask)}
        case ToolEnded():
            fields = {
                "tool_call_id": given.tool_call_id,
                "status": str(given.status),
                "output": mask_json_text(given.output),
                "duration_ms": given.duration_ms,
                "facts": masked_facts(given.facts, mask),
            }
        case ToolAsked():
            fields = {"tool_call_id": given.tool_call_id}
        case Progressed():
            fields = {"tool_call_id": given.tool_call_id, "words": mask_text(given.words)}
        case HandoffAnswered(tool_call_id=tool_call_id, accepted=accepted, declined=declined):
            fields = {"tool_call_id": tool_call_id}
            if accepted is not None:
                context = masked_facts(accepted.context, mask)
                fields["accepted"] = {"role": masked_role(accepted.role, mask), "context": context}
            if declined is not None:
                fields["declined"] = {"code": declined.code, "message": mask_text(declined.message)}
        case Tripped():
            fields = {
                "rule": mask_own("rule", given.rule),
                "response_id": given.response_id,
                "instead": mask_text(given.instead),
            }
        case _:
            assert_never(given)
    return {**kind, "at_ms": given.at_ms, **fields}


def input_of(stored: Mapping[str, object]) -> Input:
    """Return the input that `masked_input` stored.

    Raises msgspec.ValidationError, KeyError or SidetoneError where it is none.
    """
    kind = _CLASSES[str(stored["in"])]
    fields: Json = {name: value for name, value in stored.items() if name != "in"}
    if kind is not Commanded:
        return msgspec.convert(fields, kind)
    command = COMMANDS.decode(msgspec.json.encode(fields["command"]))
    entry = InboxEntry(entry_id=msgspec.convert(fields["entry_id"], str), command=command)
    return Commanded(received=entry, at_ms=msgspec.convert(fields["at_ms"], int))


def _masked_command(received: InboxEntry, mask: EventMask) -> Json:
    command = received.command
    match command:
        case ToolResult():
            masked = ToolResult(
                tool_call_id=command.tool_call_id,
                status=command.status,
                output=mask_json_text(command.output),
                duration_ms=command.duration_ms,
                facts=msgspec.convert(masked_facts(command.facts, mask), dict[str, FactValue | None]),
            )
        case ReportProgress():
            masked = ReportProgress(tool_call_id=command.tool_call_id, text=mask_text(command.text))
        case Say():
            masked = Say(text=mask_text(command.text))
        case EndCall():
            masked = EndCall(
                reason=mask_own("reason", str(command.reason)), goodbye=mask_text(command.goodbye)
            )
        case Tell():
            masked = Tell(text=mask_text(command.text), respond=command.respond)
        case _:
            assert_never(command)
    return msgspec.json.decode(COMMANDS.encode(masked), type=dict[str, object])
