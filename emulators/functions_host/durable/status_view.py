"""How the management API shows an instance and its history.

Source: `StatusResponsePayload` and `DurableOrchestrationStatus` history of the extension: events
are paired, a completion carries the name and time of what scheduled it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from emulators.functions_host.durable.history import SCHEDULING, Event, EventType, kind, number
from emulators.functions_host.durable.records import Instance

_NAMES = {
    EventType.EXECUTION_STARTED: "ExecutionStarted",
    EventType.EXECUTION_COMPLETED: "ExecutionCompleted",
    EventType.EXECUTION_TERMINATED: "ExecutionTerminated",
    EventType.TASK_COMPLETED: "TaskCompleted",
    EventType.TASK_FAILED: "TaskFailed",
    EventType.SUB_ORCHESTRATION_COMPLETED: "SubOrchestrationInstanceCompleted",
    EventType.SUB_ORCHESTRATION_FAILED: "SubOrchestrationInstanceFailed",
    EventType.TIMER_FIRED: "TimerFired",
    EventType.EVENT_RAISED: "EventRaised",
    EventType.GENERIC: "GenericEvent",
    EventType.EXECUTION_SUSPENDED: "ExecutionSuspended",
    EventType.EXECUTION_RESUMED: "ExecutionResumed",
}


def status_view(instance: Instance, *, show_input: bool) -> dict[str, object]:
    """Return the status of an instance as the API shows it; times in whole seconds."""
    return {
        "name": instance.name,
        "instanceId": instance.instance_id,
        "runtimeStatus": str(instance.status),
        "input": _value(instance.input) if show_input else None,
        "customStatus": _value(instance.custom_status),
        "output": _value(instance.output),
        "createdTime": _time(instance.created),
        "lastUpdatedTime": _time(instance.updated),
    }


def history_view(history: Sequence[Event], *, show_output: bool) -> list[dict[str, object]]:
    """Return the history as the API shows it; results only with `show_output`."""
    scheduled = {number(e, "EventId"): e for e in history if kind(e) in SCHEDULING}
    return [_shown(e, scheduled, show_output=show_output) for e in history if kind(e) in _NAMES]


def _shown(past: Event, scheduled: Mapping[int, Event], *, show_output: bool) -> dict[str, object]:
    shown: dict[str, object] = {"EventType": _NAMES[kind(past)], "Timestamp": past["Timestamp"]}
    match kind(past):
        case EventType.EXECUTION_STARTED:
            shown["FunctionName"] = past["Name"]
        case EventType.EXECUTION_COMPLETED:
            shown["OrchestrationStatus"] = {1: "Completed", 3: "Failed"}.get(
                number(past, "OrchestrationStatus"), "Terminated"
            )
            if show_output:
                shown["Result"] = past["Result"]
        case EventType.TIMER_FIRED:
            created = scheduled.get(number(past, "TimerId"), {})
            shown |= {"FireAt": past["FireAt"], "ScheduledTime": created.get("Timestamp")}
        case EventType.EVENT_RAISED:
            shown["Name"] = past["Name"]
            if show_output:
                shown["Input"] = _value(str(past["Input"]))
        case EventType.EXECUTION_SUSPENDED | EventType.EXECUTION_RESUMED:
            shown["Reason"] = past["Reason"]
        case EventType.EXECUTION_TERMINATED:
            shown["Reason"] = past["Input"]
        case EventType.GENERIC:
            shown["Data"] = past.get("Data")
        case _:
            cause = scheduled.get(number(past, "TaskScheduledId"), {})
            shown |= {"FunctionName": cause.get("Name"), "ScheduledTime": cause.get("Timestamp")}
            shown |= {name: past[name] for name in ("Reason", "Details") if name in past}
            if show_output and isinstance(past.get("Result"), str):
                shown["Result"] = _value(str(past["Result"]))
    return shown


def _value(text: str | None) -> object:
    return None if text is None else json.loads(text)


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
