"""One episode of an orchestration: which messages it takes, what its answer comes to.

Everything here is a plain computation over one instance's data; `engine` loads, calls the
function and commits. Source: DTFx `TaskOrchestrationDispatcher.cs`, `OrchestrationRuntimeState.cs`.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from emulators.functions_host.durable.history import (
    Event,
    EventType,
    as_played,
    event,
    execution_started,
    kind,
    moment,
    number,
)
from emulators.functions_host.durable.program import OrchestratorAnswer
from emulators.functions_host.durable.records import (
    ChildStart,
    Episode,
    Instance,
    Loaded,
    Message,
    Status,
    Work,
)
from emulators.functions_host.durable.replay import Walk

_FINAL_STATUS_NUMBER = {Status.COMPLETED: 1, Status.FAILED: 3, Status.TERMINATED: 5}
_CONTROL = (EventType.EXECUTION_SUSPENDED, EventType.EXECUTION_RESUMED, EventType.EXECUTION_TERMINATED)
SHORT_TIMER_LIMIT = {
    "longRunningTimerIntervalDuration": "3.00:00:00",
    "maximumShortTimerDuration": "6.00:00:00",
    "defaultHttpAsyncRequestSleepTimeMillseconds": 30000,
}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The messages that one episode takes; what is held back while suspended stays in the store."""

    events: Sequence[Event]
    consumed: Sequence[int]
    suspended: bool
    termination: Event | None

    @property
    def needs_function(self) -> bool:
        """Suspending and resuming alone tell the function nothing."""
        return any(kind(e) not in _CONTROL for e in self.events)


def take_batch(loaded: Loaded) -> Batch:
    """Choose the messages of the next episode."""
    suspended = loaded.instance.status is Status.SUSPENDED
    events: list[Event] = []
    consumed: list[int] = []
    held: list[Message] = []
    termination: Event | None = None
    started = any(json.loads(h)["EventType"] == EventType.EXECUTION_STARTED for h in loaded.history[:2])
    for message in loaded.messages:
        what = kind(message.event)
        if message.execution_id not in (None, loaded.instance.execution_id):
            consumed.append(message.id)
            continue
        if suspended and what not in _CONTROL:
            held.append(message)
            continue
        consumed.append(message.id)
        if what is EventType.EXECUTION_STARTED:
            if started:
                continue
            started = True
        events.append(message.event)
        if what is EventType.EXECUTION_TERMINATED:
            termination = message.event
            break
        if what is EventType.EXECUTION_SUSPENDED:
            suspended = True
        elif what is EventType.EXECUTION_RESUMED:
            suspended = False
            events.extend(m.event for m in held)
            consumed.extend(m.id for m in held)
            held.clear()
    return Batch(events=events, consumed=consumed, suspended=suspended, termination=termination)


class EpisodeBuilder:
    """Holds the frame of one episode and turns its result into what is to be written."""

    def __init__(self, loaded: Loaded, batch: Batch) -> None:
        self._instance = loaded.instance
        self._batch = batch
        self._past_texts = loaded.history
        self._past = [cast("Event", json.loads(text)) for text in loaded.history]
        self.now = max(time.time(), moment(str(self._past[-1]["Timestamp"])) if self._past else 0)
        self._new: list[Event] = [event(EventType.ORCHESTRATOR_STARTED, self.now), *batch.events]

    def history(self) -> Sequence[Event]:
        """Return the whole history, the new events included, as the function will see it."""
        return [*self._past, *self._new]

    def function_input(self) -> str:
        """Return the orchestration context that the function receives, as JSON text."""
        started = next(e for e in self.history()[:2] if kind(e) is EventType.EXECUTION_STARTED)
        parent = cast("Mapping[str, Mapping[str, object]] | None", started["ParentInstance"])
        rest = {
            "input": None if self._instance.input is None else json.loads(self._instance.input),
            "instanceId": self._instance.instance_id,
            "isReplaying": started["IsPlayed"],
            "parentInstanceId": parent["OrchestrationInstance"]["InstanceId"] if parent else None,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 2,
            **SHORT_TIMER_LIMIT,
        }
        events = ",".join([*self._past_texts, *(json.dumps(e) for e in self._new)])
        return f'{{"history":[{events}],{json.dumps(rest)[1:]}'

    def nothing_new(self) -> Episode:
        """Every message was stale: they go, nothing else changes."""
        return Episode(instance=self._instance, consumed=self._batch.consumed, history=[])

    def only_control(self) -> Episode:
        """The instance was only suspended or resumed."""
        status = Status.SUSPENDED if self._batch.suspended else Status.RUNNING
        return self._episode(replace(self._instance, status=status), [])

    def terminated(self) -> Episode:
        """The instance was terminated; the function is not asked."""
        reason = cast("str | None", cast("Event", self._batch.termination)["Input"])
        return self._finish(Status.TERMINATED, reason or "", details="", walk=None, custom_status=None)

    def failed(self, text: str, *, details: str = "", walk: Walk | None = None) -> Episode:
        return self._finish(
            Status.FAILED, text, details=details, walk=walk, custom_status=self._instance.custom_status
        )

    def answered(self, answer: OrchestratorAnswer, walk: Walk) -> Episode:
        """The function has answered and its program has been walked."""
        if walk.finished and answer.error is not None:
            return self._finish(
                Status.FAILED,
                f"Orchestrator function '{self._instance.name}' failed: {answer.error}",
                details=f"Message: {answer.error}",
                walk=walk,
                custom_status=answer.custom_status,
            )
        if walk.finished and walk.continue_with is not None:
            return self._continue_as_new(answer, walk, walk.continue_with)
        if walk.finished and answer.is_done:
            return self._finish(
                Status.COMPLETED,
                answer.output or "null",
                details="",
                walk=walk,
                custom_status=answer.custom_status,
            )
        status = Status.SUSPENDED if self._batch.suspended else Status.RUNNING
        running = replace(self._instance, status=status, custom_status=answer.custom_status)
        return self._episode(running, [], walk=walk)

    def _finish(
        self, status: Status, result: str, *, details: str, walk: Walk | None, custom_status: str | None
    ) -> Episode:
        """`result` is JSON text for a completed instance, plain text for the others."""
        completed = event(
            EventType.EXECUTION_COMPLETED,
            self.now,
            OrchestrationStatus=_FINAL_STATUS_NUMBER[status],
            Result=result,
            FailureDetails=None,
        )
        output = result if status is Status.COMPLETED else json.dumps(result)
        instance = replace(self._instance, status=status, output=output, custom_status=custom_status)
        reply = self._reply_to_parent(status, result, details)
        return self._episode(instance, [completed], walk=walk, messages=[reply] if reply else [])

    def _reply_to_parent(self, status: Status, result: str, details: str) -> Message | None:
        if self._instance.parent is None:
            return None
        parent = json.loads(self._instance.parent)
        if status is Status.COMPLETED:
            reply = event(
                EventType.SUB_ORCHESTRATION_COMPLETED,
                self.now,
                TaskScheduledId=parent["TaskScheduleId"],
                Result=result,
            )
        else:
            reply = _child_failed(self.now, parent["TaskScheduleId"], result, details)
        return Message(
            target=parent["OrchestrationInstance"]["InstanceId"],
            execution_id=parent["OrchestrationInstance"]["ExecutionId"],
            event=reply,
            deliver_at=self.now,
        )

    def _continue_as_new(self, answer: OrchestratorAnswer, walk: Walk, raw_input: str) -> Episode:
        renewed = replace(
            self._instance,
            execution_id=uuid.uuid4().hex,
            input=raw_input,
            status=Status.SUSPENDED if self._batch.suspended else Status.RUNNING,
            custom_status=answer.custom_status,
            generation=self._instance.generation + 1,
        )
        first = [start_message(renewed, self.now, deliver_at=0.0)]
        carried = [Message(target=renewed.instance_id, event=e, deliver_at=0.0) for e in walk.carried_events]
        episode = self._episode(renewed, [], walk=walk, messages=[*first, *carried])
        return replace(episode, history=[], replace_history=True)

    def _episode(
        self,
        instance: Instance,
        ending: Sequence[Event],
        *,
        walk: Walk | None = None,
        messages: Sequence[Message] = (),
    ) -> Episode:
        decisions = walk.decisions if walk else []
        decided = [self._effect(d) for d in decisions]
        frame = [
            *self._new,
            *(_as_stored(d) for d in decisions),
            *ending,
            event(EventType.ORCHESTRATOR_COMPLETED, self.now),
        ]
        return Episode(
            instance=replace(instance, updated=self.now),
            consumed=self._batch.consumed,
            history=[as_played(e) for e in frame],
            messages=[*(d for d in decided if isinstance(d, Message)), *messages],
            work=[d for d in decided if isinstance(d, Work)],
            children=[d for d in decided if isinstance(d, ChildStart)],
        )

    def _effect(self, decision: Event) -> Message | Work | ChildStart:
        """Return what a decision sets going."""
        me = self._instance
        match kind(decision):
            case EventType.TASK_SCHEDULED:
                return Work(
                    instance_id=me.instance_id,
                    execution_id=me.execution_id,
                    task_id=number(decision, "EventId"),
                    name=str(decision["Name"]),
                    input=str(decision["Input"]),
                    traceparent=me.traceparent,
                    tracestate=me.tracestate,
                )
            case EventType.TIMER_CREATED:
                fired = event(
                    EventType.TIMER_FIRED, self.now, TimerId=decision["EventId"], FireAt=decision["FireAt"]
                )
                return Message(
                    target=me.instance_id,
                    execution_id=me.execution_id,
                    event=fired,
                    deliver_at=moment(str(decision["FireAt"])),
                )
            case EventType.SUB_ORCHESTRATION_CREATED:
                return self._child(decision)
            case EventType.EVENT_SENT:
                raised = event(
                    EventType.EVENT_RAISED, self.now, Name=decision["Name"], Input=decision["Input"]
                )
                return Message(target=str(decision["InstanceId"]), event=raised, deliver_at=self.now)
            case other:
                raise AssertionError(f"{other.name} is not a decision")

    def _child(self, decision: Event) -> ChildStart:
        me, task_id = self._instance, number(decision, "EventId")
        parent = {
            "OrchestrationInstance": {"InstanceId": me.instance_id, "ExecutionId": me.execution_id},
            "Name": me.name,
            "Version": me.version,
            "TaskScheduleId": task_id,
        }
        child = Instance(
            instance_id=str(decision["InstanceId"]),
            execution_id=uuid.uuid4().hex,
            name=str(decision["Name"]),
            version=cast("str | None", decision["Version"]),
            status=Status.PENDING,
            input=str(decision["Input"]),
            output=None,
            custom_status=None,
            created=self.now,
            updated=self.now,
            generation=0,
            parent=json.dumps(parent),
            traceparent=me.traceparent,
            tracestate=me.tracestate,
        )
        reason = (
            f"An Orchestration instance with the ID {child.instance_id} already exists and has not ended."
        )
        refused = Message(
            target=me.instance_id,
            execution_id=me.execution_id,
            event=_child_failed(self.now, task_id, reason, ""),
            deliver_at=self.now,
        )
        return ChildStart(instance=child, started=start_message(child, self.now), refused=refused)


def start_message(instance: Instance, now: float, *, deliver_at: float | None = None) -> Message:
    """Build the message that begins an execution of `instance`."""
    started = execution_started(
        now=now,
        instance_id=instance.instance_id,
        execution_id=instance.execution_id,
        name=instance.name,
        version=instance.version,
        raw_input=instance.input,
        parent=json.loads(instance.parent) if instance.parent else None,
        traceparent=instance.traceparent,
        tracestate=instance.tracestate,
        generation=instance.generation,
    )
    return Message(
        target=instance.instance_id,
        execution_id=instance.execution_id,
        event=started,
        deliver_at=now if deliver_at is None else deliver_at,
    )


def _child_failed(now: float, task_id: object, reason: str, details: str) -> Event:
    return event(
        EventType.SUB_ORCHESTRATION_FAILED,
        now,
        TaskScheduledId=task_id,
        Reason=reason,
        Details=details,
        FailureDetails=None,
    )


def _as_stored(decision: Event) -> Event:
    """The history does not repeat an activity's input (storeInputsInOrchestrationHistory is off)."""
    return {**decision, "Input": None} if kind(decision) is EventType.TASK_SCHEDULED else decision
