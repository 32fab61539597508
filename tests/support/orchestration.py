"""Drive an orchestrator step by step, replayed from its whole history by the real Durable SDK each time.

The test plays the engine: it completes or fails the pending activity, fires timers, raises
events, in any order. Time stands still except where a timer fires.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.durable_functions import DurableOrchestrationContext, Orchestrator

_EXECUTION_STARTED, _TASK_COMPLETED, _TASK_FAILED, _TIMER_FIRED, _STARTED, _COMPLETED, _EVENT = (
    0, 5, 6, 11, 12, 13, 15,
)  # fmt: skip
_STARTED_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class PendingActivity:
    """An activity that the orchestration waits for."""

    task_id: int
    name: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PendingTimer:
    """A timer of the orchestrator's own that is neither fired nor cancelled."""

    task_id: int
    after_s: float


class OrchestrationDriver:
    """One instance of an orchestrator."""

    def __init__(self, program: Callable[..., Any], given: Mapping[str, Any]) -> None:
        self._program = program
        self._given = json.dumps(given)
        self.now = _STARTED_AT
        self._history: list[dict[str, Any]] = []
        self._retries: dict[int, PendingActivity] = {}
        self.state: dict[str, Any] = {}
        self._context: DurableOrchestrationContext
        self._episode(self._event(_EXECUTION_STARTED, Name="program", Input=self._given, Version=None))

    @property
    def output(self) -> Any:
        """What the orchestrator returned; fails the test when it has not."""
        assert self.state["isDone"], f"still waiting: {self.describe()}"
        return self.state["output"]

    @property
    def done(self) -> bool:
        return bool(self.state["isDone"])

    @property
    def custom_status(self) -> Any:
        return self.state.get("customStatus")

    def activities(self) -> list[PendingActivity]:
        """Return the activities that are pending, each with the input of its first attempt."""
        pending: list[PendingActivity] = []
        for task_id, task in self._open().items():
            action = task.action_repr
            if type(action).__name__ in ("CallActivityAction", "CallActivityWithRetryAction"):
                found = PendingActivity(
                    task_id=task_id, name=action.function_name, payload=json.loads(action.input_)
                )
                pending.append(found)
            elif "rescheduled" in str(getattr(action, "metadata", "")):
                first = task.parent.children[0].action_repr
                pending.append(
                    PendingActivity(
                        task_id=task_id, name=first.function_name, payload=json.loads(first.input_)
                    )
                )
        return pending

    def timers(self) -> list[PendingTimer]:
        """Return the timers that are pending."""
        return [
            PendingTimer(task_id=task_id, after_s=(task.action_repr.fire_at - self.now).total_seconds())
            for task_id, task in self._open().items()
            if type(task.action_repr).__name__ == "CreateTimerAction" and not task.action_repr.is_cancelled
        ]

    def waiting_for(self) -> set[str]:
        """Return the names of the events that are waited for."""
        return {key for key in self._context.open_tasks if isinstance(key, str)}

    def complete(self, name: str, result: Any) -> Mapping[str, Any]:
        """Let the pending activity `name` return `result`; return the payload it was given."""
        activity = self._only(name)
        self._episode(
            self._event(_TASK_COMPLETED, TaskScheduledId=activity.task_id, Result=json.dumps(result))
        )
        return activity.payload

    def fail(self, name: str, *, times: int = 1) -> None:
        """Let the pending activity `name` fail, so many times in a row, its retry timer firing after each."""
        task_id = self._only(name).task_id
        for _ in range(times - 1):
            # The retry's timer and its attempt have the next two numbers: no replay is needed to know them.
            for event in (self._failure(task_id), self._event(_TIMER_FIRED, TimerId=task_id + 1)):
                self._history += [self._event(_STARTED), event, self._event(_COMPLETED)]
            task_id += 2
        self._episode(self._failure(task_id))
        for timer_id, task in self._open().items():
            if "WithRetry timer" in str(getattr(task.action_repr, "metadata", "")):
                self._episode(self._event(_TIMER_FIRED, TimerId=timer_id))
                return

    def _failure(self, task_id: int) -> dict[str, Any]:
        return self._event(
            _TASK_FAILED, TaskScheduledId=task_id, Reason="Activity failed", Details="boom: no"
        )

    def fire_timer(self) -> None:
        """Let the earliest pending timer fire, and the clock stand there."""
        timers = self.timers()
        assert timers, f"no timer is pending: {self.describe()}"
        first = min(timers, key=lambda timer: timer.after_s)
        self.now += timedelta(seconds=max(0.0, first.after_s))
        self._episode(self._event(_TIMER_FIRED, TimerId=first.task_id))

    def raise_event(self, name: str, data: Any) -> None:
        """Let an event arrive."""
        self._episode(self._event(_EVENT, Name=name, Input=json.dumps(data)))

    def raise_together(self, *events: tuple[str, Any]) -> None:
        """Let several events arrive in one episode, in this order."""
        self._episode(*(self._event(_EVENT, Name=name, Input=json.dumps(data)) for name, data in events))

    def describe(self) -> str:
        """Return what is pending, for a failing test."""
        return f"activities {self.activities()}, timers {self.timers()}, events {self.waiting_for()}"

    def _only(self, name: str) -> PendingActivity:
        found = [activity for activity in self.activities() if activity.name == name]
        assert len(found) == 1, f"{name} is not pending: {self.describe()}"
        return found[0]

    def _open(self) -> dict[int, Any]:
        return {key: task for key, task in self._context.open_tasks.items() if isinstance(key, int)}

    def _event(self, kind: int, **fields: Any) -> dict[str, Any]:
        moment = self.now.isoformat().replace("+00:00", "Z")
        return {"EventType": kind, "EventId": -1, "IsPlayed": False, "Timestamp": moment, **fields}

    def _episode(self, *events: dict[str, Any]) -> None:
        if self.state.get("isDone"):
            return  # the engine drops what comes for a finished instance
        self._history += [self._event(_STARTED), *events]
        self._context = DurableOrchestrationContext.from_json(
            json.dumps(
                {
                    "history": self._history,
                    "instanceId": "instance",
                    "isReplaying": False,
                    "parentInstanceId": None,
                    "input": self._given,
                    "upperSchemaVersion": 2,
                    "upperSchemaVersionNew": 4,
                }
            )
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK warns of early events, which is what some tests send
            self.state = json.loads(Orchestrator(self._program).handle(self._context))
        self._history.append(self._event(_COMPLETED))
