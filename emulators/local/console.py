"""A session's event log as a conversation in the terminal.

Plain text where the output is not a terminal or NO_COLOR is set; then one line an entry, unwrapped.
"""

from __future__ import annotations

import json
import statistics
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO, assert_never

from rich.console import Console
from rich.text import Text

from shared.session.log import (
    AgentTurn,
    ApprovalDecided,
    ApprovalRequested,
    Archived,
    Attached,
    AudioStarted,
    CallEvent,
    CommandReceived,
    ConsentNoted,
    ErrorRecorded,
    GuardrailTripped,
    HandedOver,
    HeardOut,
    Interrupted,
    LogEntry,
    ResponseUsage,
    SessionCreated,
    StateChanged,
    ToolCalled,
    ToolFinished,
    ToolMadeDurable,
    ToolProgressed,
    ToolStatus,
    ToolUndone,
    TurnStatus,
    UserTurn,
)

_WHO_WIDTH = 9
_INDENT = 2 + 7 + 2 + _WHO_WIDTH
_LONGEST_JSON = 240
_FAILURE_CODE = 400
_PLAIN_WIDTH = 140


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line to show: when, who, what, and a dim remark behind it."""

    at_ms: int
    who: str
    text: str
    remark: str = ""
    style: str = ""


def lines_of(entry: LogEntry) -> list[Line]:
    """Return what a person shall see of a log entry; nothing for bookkeeping."""
    match entry:
        case SessionCreated():
            about = f"agent {entry.agent} (version {entry.agent_version}), {entry.transport}"
            return [_line(entry.at_ms, "session", "created", about)]
        case StateChanged():
            return [_line(entry.at_ms, "session", entry.state, entry.reason, "bold")]
        case Attached():
            remark = f"epoch {entry.epoch}, {entry.worker}"
            return [_line(entry.at_ms, "worker", f"attached in {_ms(entry.took_ms)}", remark)]
        case UserTurn():
            return [_line(entry.spoken_at_ms, "caller", _said(entry), _unfinished(entry.status), "cyan")]
        case AgentTurn():
            delay = f"first audio after {_ms(entry.first_audio_ms)}" if entry.first_audio_ms >= 0 else ""
            remark = ", ".join(filter(None, [_unfinished(entry.status), delay]))
            return [_line(entry.spoken_at_ms, "agent", _said(entry), remark, "green")]
        case AudioStarted():
            return [
                _line(
                    entry.at_ms, "agent", "is heard", f"first audio after {_ms(entry.first_audio_ms)}", "dim"
                )
            ]
        case Interrupted():
            return [_line(entry.at_ms, "caller", "interrupted", "the rest went unheard", "dim")]
        case ToolCalled():
            call = f"{entry.name}({_compact(entry.arguments)})"
            return [_line(entry.at_ms, "tool", call, entry.execution, "yellow")]
        case ToolFinished():
            result = f"{entry.name} = {_compact(entry.output)}"
            style = "yellow" if entry.status is ToolStatus.OK else "red"
            return [_line(entry.at_ms, "tool", result, f"{entry.status} in {_ms(entry.duration_ms)}", style)]
        case ToolProgressed():
            return [_line(entry.at_ms, "tool", entry.text, "progress", "dim")]
        case ToolMadeDurable():
            return [_line(entry.at_ms, "tool", entry.name, "goes on as a durable one", "dim")]
        case ToolUndone():
            outcome = "undone" if entry.succeeded else "could not be undone"
            return [_line(entry.at_ms, "tool", f"{entry.name} {outcome}", "", "yellow")]
        case ApprovalRequested():
            return [_line(entry.at_ms, "approval", entry.question, f"asked for {entry.tool}", "magenta")]
        case ApprovalDecided():
            by = f"by {entry.by}" if entry.by else ""
            return [_line(entry.at_ms, "approval", entry.state, by, "magenta")]
        case HandedOver():
            return [_line(entry.at_ms, "session", f"handed over to {entry.to_agent}", entry.stated_reason)]
        case GuardrailTripped():
            return [_line(entry.at_ms, "session", f"guardrail {entry.rule}", "the agent was cut off", "red")]
        case ErrorRecorded():
            return [_line(entry.at_ms, "error", f"{entry.source}: {entry.code}", entry.detail, "red")]
        case CommandReceived(command="say"):
            return []  # the words are a line of the agent's
        case CommandReceived():
            return [_line(entry.at_ms, "command", entry.command, entry.detail)]
        case HeardOut():
            how = "until the caller spoke" if entry.interrupted else "to its end"
            return [_line(entry.at_ms, "caller", "heard it", how, "dim")]
        case ConsentNoted():
            return [_line(entry.at_ms, "consent", entry.step, "", "bold")]
        case CallEvent():
            code = f"{entry.code}/{entry.sub_code}" if entry.code >= _FAILURE_CODE else ""
            remark = ", ".join(filter(None, [entry.detail, code]))
            return [_line(entry.at_ms, "call", entry.event.replace("_", " "), remark)]
        case Archived():
            return [_line(entry.at_ms, "session", "transcript archived", entry.summary)]
        case ResponseUsage():
            return []
        case _:
            assert_never(entry)


def transcript(entries: Iterable[LogEntry]) -> list[Line]:
    """Return the turns and tool calls in the order in which they happened."""
    kept = [entry for entry in entries if isinstance(entry, UserTurn | AgentTurn | ToolCalled | ToolFinished)]
    return sorted((line for entry in kept for line in lines_of(entry)), key=lambda line: line.at_ms)


def summary_of(entries: Sequence[LogEntry]) -> str:
    """Return one line about a call: how it ended, how long it took, turns, tools, first audio, tokens."""
    ended = next((e for e in entries if isinstance(e, StateChanged) and e.state == "ended"), None)
    began = next((e.at_ms for e in entries if isinstance(e, Attached)), None)
    heard_after = [e.first_audio_ms for e in entries if isinstance(e, AgentTurn | AudioStarted)]
    delays = [delay for delay in heard_after if delay >= 0]
    tools = [e for e in entries if isinstance(e, ToolFinished)]
    bills = [e for e in entries if isinstance(e, ResponseUsage)]
    heard = sum(isinstance(e, UserTurn) for e in entries)
    spoken = sum(isinstance(e, AgentTurn) for e in entries)

    parts = [f"ended by {ended.reason}" if ended else "not ended"]
    if ended and began is not None:
        parts[0] += f" after {(ended.at_ms - began) / 1000:.1f} s"
    parts.append(f"{_count(heard, 'caller turn')} and {_count(spoken, 'agent turn')}")
    not_ok = sum(tool.status is not ToolStatus.OK for tool in tools)
    parts.append(_count(len(tools), "tool call") + (f" ({not_ok} not ok)" if not_ok else ""))
    if delays:
        parts.append(
            f"first audio after {_ms(statistics.median(delays))} (median), {_ms(max(delays))} at most"
        )
    if bills:
        tokens = sum(bill.input_tokens + bill.output_tokens for bill in bills)
        cached = sum(bill.cached_tokens for bill in bills)
        parts.append(f"{tokens} tokens ({cached} cached) in {_count(len(bills), 'response')}")
    return "; ".join(parts)


class ConversationConsole:
    """Shows the entries of one session; times count from its first one."""

    def __init__(self, output: TextIO | None = None, *, terminal: bool | None = None) -> None:
        """`output`: default is standard output. `terminal`: whether it is one; default is to look."""
        self._console = Console(file=output, force_terminal=terminal, highlight=False)
        self._started_at_ms: int | None = None

    @property
    def width(self) -> int:
        """How many characters a line has; wide where the output is not a terminal."""
        return self._console.width if self._console.is_terminal else _PLAIN_WIDTH

    def say(self, text: str, style: str = "") -> None:
        """Show a line that is about the stack rather than from the log."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def show(self, entry: LogEntry) -> None:
        """Show a log entry."""
        if self._started_at_ms is None:
            self._started_at_ms = entry.at_ms
        self.show_lines(lines_of(entry))

    def show_lines(self, lines: Iterable[Line]) -> None:
        """Show lines, each under its time since the session began."""
        for line in lines:
            self._console.print(self._rendered(line), soft_wrap=True)

    def _rendered(self, line: Line) -> Text:
        minutes, seconds = divmod(max(line.at_ms - (self._started_at_ms or line.at_ms), 0) / 1000, 60)
        head = Text.assemble(
            "  ",
            (f"{int(minutes):>2}:{seconds:04.1f}", "dim"),
            "  ",
            (f"{line.who:<{_WHO_WIDTH}}", f"bold {line.style}".strip()),
        )
        body = Text(line.text, style=line.style)
        if line.remark:
            body.append(f"  ({line.remark})", style="dim")
        if not self._console.is_terminal or self._console.width < 2 * _INDENT:
            return head + body
        wrapped = body.wrap(self._console, self._console.width - _INDENT)
        return head + Text("\n" + " " * _INDENT).join(wrapped)


def _line(at_ms: int, who: str, text: str, remark: str = "", style: str = "") -> Line:
    return Line(at_ms=at_ms, who=who, text=_printable(text), remark=_printable(remark), style=style)


def _said(turn: UserTurn | AgentTurn) -> str:
    return turn.text or "(nothing understood)"


def _unfinished(status: TurnStatus) -> str:
    return "" if status is TurnStatus.COMPLETED else status.value


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _compact(text: str) -> str:
    """Return JSON on one line without needless spaces, cut where it is long; other text as it is."""
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), ensure_ascii=False)
    return text if len(text) <= _LONGEST_JSON else f"{text[:_LONGEST_JSON]}… ({len(text)} characters)"


def _printable(text: str) -> str:
    """Return `text` without what could steer a terminal: it comes from callers, models and tools."""
    return "".join(" " if unicodedata.category(char).startswith("C") else char for char in text)
