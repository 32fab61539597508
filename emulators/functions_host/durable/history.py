"""History events of an orchestration, as the Durable Task Framework writes them.

Each event is a JSON object with `EventType`, `EventId` (-1 unless it schedules something),
`IsPlayed` and `Timestamp`. Source: `DurableTask.Core/History` and the SDK's `HistoryEvent.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import TypeAlias

Event: TypeAlias = dict[str, object]


class EventType(IntEnum):
    EXECUTION_STARTED = 0
    EXECUTION_COMPLETED = 1
    EXECUTION_TERMINATED = 3
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    SUB_ORCHESTRATION_CREATED = 7
    SUB_ORCHESTRATION_COMPLETED = 8
    SUB_ORCHESTRATION_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_SENT = 14
    EVENT_RAISED = 15
    GENERIC = 17
    EXECUTION_SUSPENDED = 19
    EXECUTION_RESUMED = 20


SCHEDULING = frozenset(
    {
        EventType.TASK_SCHEDULED,
        EventType.SUB_ORCHESTRATION_CREATED,
        EventType.TIMER_CREATED,
        EventType.EVENT_SENT,
    }
)
"""Events that carry a task id in `EventId`."""

_NEVER_PLAYED = SCHEDULING | {EventType.ORCHESTRATOR_STARTED, EventType.ORCHESTRATOR_COMPLETED}


def kind(event: Mapping[str, object]) -> EventType:
    return EventType(int(str(event["EventType"])))


def number(event: Mapping[str, object], name: str) -> int:
    """Return an integer field of an event."""
    return int(str(event[name]))


def as_played(event: Event) -> Event:
    """Return the event as it is stored after its episode: what was processed is played."""
    return event if kind(event) in _NEVER_PLAYED else {**event, "IsPlayed": True}


def timestamp(moment: float) -> str:
    """Format seconds since the epoch as .NET does: seven decimals and Z."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def moment(text: str) -> float:
    """Parse a UTC timestamp (`Z`, up to seven decimals) to seconds since the epoch."""
    return datetime.fromisoformat(text.rstrip("Z")[:26]).replace(tzinfo=UTC).timestamp()


def event(event_type: EventType, now: float, *, event_id: int = -1, **fields: object) -> Event:
    """Build an event of this moment."""
    return {
        "EventType": int(event_type),
        "EventId": event_id,
        "IsPlayed": False,
        "Timestamp": timestamp(now),
        **fields,
    }


def execution_started(
    *,
    now: float,
    instance_id: str,
    execution_id: str,
    name: str,
    version: str | None,
    raw_input: str | None,
    parent: Mapping[str, object] | None,
    traceparent: str,
    tracestate: str,
    generation: int = 0,
) -> Event:
    """Build the event that begins an execution; `raw_input` is JSON text."""
    return event(
        EventType.EXECUTION_STARTED,
        now,
        OrchestrationInstance={"InstanceId": instance_id, "ExecutionId": execution_id},
        ParentInstance=parent,
        Name=name,
        Version=version,
        Input=raw_input,
        Tags=None,
        Correlation=None,
        ScheduledStartTime=None,
        ParentTraceContext={"TraceParent": traceparent, "TraceState": tracestate},
        Generation=generation,
    )
