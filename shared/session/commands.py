"""Commands to a session. They wait in its inbox, a durable stream, until the owner has applied them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from shared.session.log import ToolStatus


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """A durable tool finished. `output` is JSON text; a second result for the same call is ignored."""

    tool_call_id: str
    status: ToolStatus
    output: str
    duration_ms: float


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


Command: TypeAlias = ToolResult | Say | EndCall | Tell


@dataclass(frozen=True, kw_only=True)
class InboxEntry:
    """A command with its place in the inbox (a stream id) and the trace it belongs to."""

    entry_id: str
    command: Command
    traceparent: str = ""
