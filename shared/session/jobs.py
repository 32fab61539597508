"""Work that the planes hand each other through Redis streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class AttachJob:
    """A worker shall attach to this session's call. `job_id` is the stream id."""

    job_id: str
    session_id: str
    traceparent: str
    enqueued_at_ms: int
    deliveries: int = 1


@dataclass(frozen=True, kw_only=True)
class StartDurableTool:
    """Start the orchestration of a durable tool call (starting it twice is harmless).

    agent: whose call it is; "" for the agent that began the session.
    """

    session_id: str
    tool_call_id: str
    tool: str
    arguments: str
    traceparent: str
    agent: str = ""


@dataclass(frozen=True, kw_only=True)
class AdjustRecording:
    """Have the session's call recorded, or not any more, as its log says by then; twice is harmless."""

    session_id: str
    traceparent: str


@dataclass(frozen=True, kw_only=True)
class LifecycleEvent:
    """Tell the session's orchestration that it was `attached` or has `ended`."""

    session_id: str
    event: str
    reason: str = ""
    traceparent: str = ""


ControlMessage: TypeAlias = StartDurableTool | AdjustRecording | LifecycleEvent


@dataclass(frozen=True, kw_only=True)
class OutboxEntry:
    """A message for the control plane that waits until it is delivered. `entry_id` is the stream id."""

    entry_id: str
    message: ControlMessage
    deliveries: int = 1
