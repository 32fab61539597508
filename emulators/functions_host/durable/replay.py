"""Run an orchestrator's program against its history, as the extension and DTFx do.

The orchestrator function has been called once with the whole history and has answered with
its whole program. This module now walks the history with that program: action k is started,
and awaited (a failure lets the program go on too, the function has dealt with it), then k+1.
Task ids come from a counter at the moment something is scheduled *in this walk*: each retry
takes one for its timer and one for its next attempt, in the order of the history; a signal
takes one; waiting for an event takes none. The SDK counts the same way, so completions meet
their tasks. What the walk schedules and the history does not hold yet is the new decisions.

Sources: `OutOfProcOrchestrationShim.cs`, `DurableOrchestrationContext.cs` (extension);
`TaskOrchestrationContext.cs`, `TaskOrchestrationExecutor.cs`, `RetryInterceptor.cs` (DTFx).
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from emulators.functions_host.durable.history import (
    Event,
    EventType,
    event,
    kind,
    moment,
    number,
    timestamp,
)
from emulators.functions_host.durable.program import (
    Action,
    CallActivity,
    CallEntity,
    CallHttp,
    CallSubOrchestrator,
    Compound,
    ContinueAsNew,
    CreateTimer,
    OrchestratorAnswer,
    Retry,
    WaitForEvent,
)

HTTP_ACTIVITY = "BuiltIn::HttpActivity"


class ReplayError(Exception):
    """The instance must fail with this text."""


class KnownFunctions(Protocol):
    """Tells which functions the app has."""

    def explain_missing(self, name: str, trigger: str) -> str | None:
        """Return why `name` cannot be called as a function with this trigger, None if it can."""
        ...


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What came of one walk."""

    decisions: Sequence[Event]
    """New scheduling events, in the order of their ids."""
    finished: bool
    """The program has ended and no scheduled task is open."""
    continue_with: str | None
    """Raw input of the next execution when the program continued as new."""
    carried_events: Sequence[Event]
    """External events that came after the call of continue-as-new."""


@dataclass
class _Task:
    """Something awaited; completing twice does nothing."""

    done: bool = False
    failed: bool = False
    _callbacks: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def complete(self, *, failed: bool = False) -> None:
        if self.done:
            return
        self.done, self.failed = True, failed
        for callback in self._callbacks:
            callback()

    def when_done(self, callback: Callable[[], None]) -> None:
        if self.done:
            callback()
        else:
            self._callbacks.append(callback)


_COMPLETIONS: Mapping[EventType, tuple[str, bool]] = {
    EventType.TASK_COMPLETED: ("TaskScheduledId", False),
    EventType.TASK_FAILED: ("TaskScheduledId", True),
    EventType.SUB_ORCHESTRATION_COMPLETED: ("TaskScheduledId", False),
    EventType.SUB_ORCHESTRATION_FAILED: ("TaskScheduledId", True),
    EventType.TIMER_FIRED: ("TimerId", False),
}


class ProgramWalk:
    """One walk of one program; use `walk`."""

    def __init__(
        self,
        *,
        instance_id: str,
        execution_id: str,
        answer: OrchestratorAnswer,
        known: KnownFunctions,
        now: float,
    ) -> None:
        self._instance_id = instance_id
        self._execution_id = execution_id
        self._program = answer.actions
        self._known = known
        self._now = now
        self._current_time = now
        self._position = 0
        self._ended = False
        self._next_id = 0
        self._decisions: dict[int, Event] = {}
        self._open: dict[int, _Task] = {}
        self._waiting: dict[str, list[_Task]] = {}
        self._buffered: dict[str, deque[None]] = {}
        self._continue_with: str | None = None
        self._carried: list[Event] = []

    def walk(self, history: Sequence[Event]) -> Walk:
        """Walk the whole history, new events included. Raises ReplayError."""
        for past in history:
            self._process(past)
        return Walk(
            decisions=[self._decisions[i] for i in sorted(self._decisions)],
            finished=self._ended and not self._open,
            continue_with=self._continue_with,
            carried_events=self._carried,
        )

    def _process(self, past: Event) -> None:
        what = kind(past)
        if what is EventType.ORCHESTRATOR_STARTED:
            self._current_time = moment(str(past["Timestamp"]))
        elif what is EventType.EXECUTION_STARTED:
            self._advance()
        elif what is EventType.EVENT_RAISED:
            if self._continue_with is not None:
                self._carried.append(past)
            else:
                self._raise_event(str(past["Name"]))
        elif what in _COMPLETIONS:
            id_field, failed = _COMPLETIONS[what]
            task = self._open.pop(number(past, id_field), None)
            if task is not None:
                task.complete(failed=failed)
        elif what in (
            EventType.TASK_SCHEDULED,
            EventType.SUB_ORCHESTRATION_CREATED,
            EventType.TIMER_CREATED,
            EventType.EVENT_SENT,
        ):
            self._match(past)

    def _match(self, past: Event) -> None:
        """A scheduling event of the history must be one that this walk decided, too."""
        decided = self._decisions.pop(number(past, "EventId"), None)
        if decided is None or (decided["EventType"], decided.get("Name")) != (
            past["EventType"],
            past.get("Name"),
        ):
            raise ReplayError(
                f"Non-Deterministic workflow detected: the history has {kind(past).name} {past['EventId']} "
                f"{past.get('Name') or ''}, but this run of the orchestrator "
                + (
                    f"decided {kind(decided).name} {decided.get('Name') or ''}"
                    if decided
                    else "did not decide it"
                )
                + "."
            )

    def _advance(self) -> None:
        while self._position < len(self._program):
            action = self._program[self._position]
            self._position += 1
            task = self._start(action)
            if not task.done:
                task.when_done(self._advance)
                return
        self._ended = True

    def _start(self, action: Action) -> _Task:
        match action:
            case CallActivity():
                return self._start_activity(action)
            case CallSubOrchestrator():
                return self._start_sub_orchestration(action)
            case CallHttp():
                return self._schedule(
                    EventType.TASK_SCHEDULED,
                    Name=HTTP_ACTIVITY,
                    Version="",
                    Input=json.dumps([action.request]),
                )
            case CreateTimer():
                return self._start_timer(action.fire_at, cancelled=action.is_canceled)
            case WaitForEvent():
                return self._wait_for(action.name)
            case CallEntity():
                return self._start_entity(action)
            case ContinueAsNew():
                self._continue_with = action.raw_input
                return _Task(done=True)
            case Compound():
                return self._start_compound(action)
            case _:
                assert_never(action)

    def _schedule(self, event_type: EventType, **fields: object) -> _Task:
        task_id = self._take_id()
        self._decisions[task_id] = event(event_type, self._now, event_id=task_id, **fields)
        self._open[task_id] = _Task()
        return self._open[task_id]

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _start_activity(self, action: CallActivity) -> _Task:
        self._require(action.name, "activityTrigger")

        def attempt() -> _Task:
            return self._schedule(
                EventType.TASK_SCHEDULED, Name=action.name, Version="", Input=json.dumps([action.input_text])
            )

        return self._with_retry(action.retry, attempt)

    def _start_sub_orchestration(self, action: CallSubOrchestrator) -> _Task:
        self._require(action.name, "orchestrationTrigger")
        if action.instance_id == self._instance_id:
            raise ReplayError("The instance ID of a sub-orchestration must differ from its parent's.")
        if action.instance_id is not None and action.instance_id.startswith("@"):
            raise ReplayError("Orchestration instance ids must not start with @")

        def attempt() -> _Task:
            return self._schedule(
                EventType.SUB_ORCHESTRATION_CREATED,
                Name=action.name,
                Version=action.version,
                InstanceId=action.instance_id or f"{self._execution_id}:{self._next_id}",
                Input=action.raw_input,
            )

        return self._with_retry(action.retry, attempt)

    def _with_retry(self, retry: Retry | None, attempt: Callable[[], _Task]) -> _Task:
        """Attempt, and after each failure (the last one too) wait for a timer, as DTFx does."""
        if retry is None:
            return attempt()
        outcome = _Task()
        attempts = 0

        def try_once() -> None:
            nonlocal attempts
            attempts += 1
            call = attempt()
            call.when_done(lambda: failed() if call.failed else outcome.complete())

        def failed() -> None:
            self._start_timer(self._current_time + retry.delay).when_done(delay_over)

        def delay_over() -> None:
            if attempts < retry.max_attempts:
                try_once()
            else:
                outcome.complete(failed=True)

        try_once()
        return outcome

    def _start_timer(self, fire_at: float, *, cancelled: bool = False) -> _Task:
        task_id = self._next_id
        task = self._schedule(EventType.TIMER_CREATED, FireAt=timestamp(fire_at))
        if cancelled:
            del self._open[task_id]
            task.complete(failed=True)
        return task

    def _start_entity(self, action: CallEntity) -> _Task:
        self._require(action.entity_id.split("@")[1], "entityTrigger")
        task_id = self._take_id()
        request_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._execution_id}:{task_id}"))
        request = {
            "op": action.operation,
            "signal": action.signal,
            "input": action.input_text,
            "id": request_id,
            "parent": self._instance_id,
            "parentExecution": self._execution_id,
        }
        self._decisions[task_id] = event(
            EventType.EVENT_SENT,
            self._now,
            event_id=task_id,
            InstanceId=action.entity_id,
            Name="op",
            Input=json.dumps(request),
        )
        return _Task(done=True) if action.signal else self._wait_for(request_id)

    def _start_compound(self, action: Compound) -> _Task:
        members = [self._start(member) for member in action.members]
        outcome = _Task()

        def check() -> None:
            finished = [m.done for m in members]
            if all(finished) or (not action.wait_for_all and any(finished)):
                outcome.complete()

        for member in members:
            member.when_done(check)
        check()
        return outcome

    def _wait_for(self, name: str) -> _Task:
        """The latest waiter is served first; an event that came before is taken at once."""
        key = name.casefold()
        task = _Task()
        self._waiting.setdefault(key, []).append(task)
        if self._buffered.get(key):
            self._buffered[key].popleft()
            self._raise_event(name)
        return task

    def _raise_event(self, name: str) -> None:
        key = name.casefold()
        if self._waiting.get(key):
            self._waiting[key].pop().complete()
        else:
            self._buffered.setdefault(key, deque()).append(None)

    def _require(self, name: str, trigger: str) -> None:
        if why := self._known.explain_missing(name, trigger):
            raise ReplayError(why)
