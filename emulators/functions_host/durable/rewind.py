"""Take a failed orchestration back to before its failure, so that what failed runs again.

The failures at the end of the history, what was scheduled for them, and the completion are
removed; everything that succeeded stays. Timers that only belonged to a retry after such a
failure go too, so that the retried call gets its last attempt again. Failures that the
orchestrator had handled before it went on to other work are kept.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from emulators.functions_host.durable.history import Event, EventType, event, kind, number
from emulators.functions_host.durable.records import Instance, Message, Status


@dataclass(frozen=True, kw_only=True)
class Rewinding:
    """The instance as it will be, and the event that sets it going."""

    instance: Instance
    history: Sequence[Event]
    wake_up: Message


_FAILURES = (EventType.TASK_FAILED, EventType.SUB_ORCHESTRATION_FAILED)
_WORK = (EventType.TASK_SCHEDULED, EventType.SUB_ORCHESTRATION_CREATED, EventType.EVENT_SENT)


def last_failed_children(history: Sequence[Event]) -> Sequence[str]:
    """Return the ids of the sub-orchestrations whose failure is to be undone."""
    failed, _ = _last_failures(history)
    return [str(e["InstanceId"]) for e in history if _created_one_of(e, failed)]


def rewound(
    instance: Instance, history: Sequence[Event], reason: str | None, rewindable: Collection[str]
) -> Rewinding:
    """Compute the state before the failure.

    A failed sub-orchestration in `rewindable` goes on as it is; any other is created again.
    """
    failed, first = _last_failures(history)
    late_timers = {number(e, "EventId") for e in history[first:] if kind(e) is EventType.TIMER_CREATED}
    kept: list[Event] = []
    for past in history:
        match kind(past):
            case EventType.EXECUTION_COMPLETED:
                continue
            case EventType.TASK_FAILED | EventType.SUB_ORCHESTRATION_FAILED:
                if number(past, "TaskScheduledId") in failed:
                    continue
            case EventType.TASK_SCHEDULED if number(past, "EventId") in failed:
                continue
            case EventType.TIMER_CREATED if number(past, "EventId") in late_timers:
                continue
            case EventType.TIMER_FIRED if number(past, "TimerId") in late_timers:
                continue
            case EventType.SUB_ORCHESTRATION_CREATED:
                if _created_one_of(past, failed) and past["InstanceId"] not in rewindable:
                    continue
            case _:
                pass
        kept.append(past)
    now = time.time()
    wake_up = Message(
        target=instance.instance_id,
        event=event(EventType.GENERIC, now, Data=f"Rewound: {reason or ''}"),
        deliver_at=now,
    )
    running = replace(instance, status=Status.RUNNING, output=None, updated=now)
    return Rewinding(instance=running, history=kept, wake_up=wake_up)


def _created_one_of(past: Event, task_ids: set[int]) -> bool:
    return kind(past) is EventType.SUB_ORCHESTRATION_CREATED and number(past, "EventId") in task_ids


def _last_failures(history: Sequence[Event]) -> tuple[set[int], int]:
    """Return the task ids that failed last, and the index of the first of these failures."""
    failed: set[int] = set()
    first = len(history)
    for index in range(len(history) - 1, -1, -1):
        what = kind(history[index])
        if what in _FAILURES:
            failed.add(number(history[index], "TaskScheduledId"))
            first = index
        elif what in _WORK and failed:
            break
    return failed, first
