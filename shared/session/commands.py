"""Commands to a session. They wait in its inbox, a durable stream, until the owner has applied them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from shared.session.log import ToolStatus
from shared.session.model import FactValue


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """A durable tool finished. `output` is JSON text; a second result for the same call is ignored.

    facts: what the tool has made known of the session; null forgets one.
    """

    tool_call_id: str
    status: ToolStatus
    output: str
    duration_ms: float
    facts: Mapping[str, FactValue | None] = field(default_factory=dict[str, FactValue | None], repr=False)


@dataclass(frozen=True, kw_only=True)
class ReportProgress:
    """A durable tool that still runs has something for the caller, said when nobody speaks."""

    tool_call_id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Say:
    """Let the agent say this, word for word, when it is its turn."""

    text: str


@dataclass(frozen=True, kw_only=True)
class EndCall:
    """End the call. `reason` is an EndReason; `goodbye` is spoken first when not empty."""

    reason: str
    goodbye: str = ""


@dataclass(frozen=True, kw_only=True)
class Tell:
    """Tell the model what happened outside the conversation; `respond`: it shall speak about it."""

    text: str
    respond: bool = True


Command: TypeAlias = ToolResult | ReportProgress | Say | EndCall | Tell


@dataclass(frozen=True, kw_only=True)
class InboxEntry:
    """A command with its place in the inbox (a stream id) and the trace it belongs to."""

    entry_id: str
    command: Command
    traceparent: str = ""
