"""Dispatch durable work: wake instances by events and timers, run episodes, commit them.

Nothing is polled: whoever commits a message also wakes its target. After a restart every
message and all unfinished work found in the store is taken up again, so activities run at
least once, as in Azure.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Sequence
from typing import cast

from emulators.functions_host.app_functions import AppFunctions
from emulators.functions_host.app_model import Failure, Success, TextData, TraceContext
from emulators.functions_host.durable.activities import ActivityRunner
from emulators.functions_host.durable.alarm import Alarm
from emulators.functions_host.durable.entity_batches import EntityRunner
from emulators.functions_host.durable.episode import EpisodeBuilder, start_message, take_batch
from emulators.functions_host.durable.history import Event, EventType, event
from emulators.functions_host.durable.program import OrchestratorAnswer, ProtocolError, parse_answer
from emulators.functions_host.durable.records import Episode, Instance, Loaded, Message, Status, Work
from emulators.functions_host.durable.replay import ProgramWalk, ReplayError
from emulators.functions_host.durable.rewind import last_failed_children, rewound
from emulators.functions_host.durable.store import Store
from emulators.functions_host.durable.work_queue import WorkQueue
from emulators.functions_host.invoker import Invoker
from emulators.functions_host.trace_context import begin

logger = logging.getLogger("functions_host.durable")

OUT_OF_PROC_MARK = "$OutOfProcData$:"


class UnknownOrchestratorError(Exception):
    """There is no orchestrator of that name; the text is the extension's."""


class AlreadyExistsError(Exception):
    """An instance of that id has not ended."""


class Engine:
    """The task hub: all orchestrations and entities of one app."""

    def __init__(
        self,
        store: Store,
        functions: AppFunctions,
        invoker: Invoker,
        *,
        max_activities: int,
        max_orchestrators: int,
    ) -> None:
        self.store = store
        self.functions = functions
        self._invoker = invoker
        self._activities = ActivityRunner(functions, invoker)
        self._entities = EntityRunner(store, functions, invoker)
        self._targets: WorkQueue[str] = WorkQueue(self._run_target, limit=max_orchestrators)
        self._work: WorkQueue[Work] = WorkQueue(self._run_work, limit=max_activities)
        self._alarm = Alarm(self._targets.put)

    async def start(self) -> None:
        """Take up what an earlier process left."""
        work = await self.store.run(self.store.do_open_work)
        deliveries = await self.store.run(self.store.do_deliveries)
        for item in work:
            self._work.put(item)
        for target, at in deliveries:
            self._alarm.set(target, at)

    async def close(self) -> None:
        """Stop; what runs is abandoned and will be run again by the next process. Idempotent."""
        self._alarm.close()
        await self._targets.close()
        await self._work.close()
        await self._activities.close()

    # What clients ask for

    async def start_instance(
        self,
        name: str,
        instance_id: str,
        raw_input: str | None,
        version: str | None,
        trace: TraceContext | None,
    ) -> None:
        """Start an instance; `raw_input` is JSON text.

        Raises UnknownOrchestratorError, AlreadyExistsError.
        """
        if why := self.functions.explain_missing(name, "orchestrationTrigger"):
            raise UnknownOrchestratorError(why)
        now = time.time()
        trace = trace or begin()
        instance = Instance(
            instance_id=instance_id,
            execution_id=uuid.uuid4().hex,
            name=name,
            version=version,
            status=Status.PENDING,
            input=raw_input,
            output=None,
            custom_status=None,
            created=now,
            updated=now,
            generation=0,
            parent=None,
            traceparent=trace.traceparent,
            tracestate=trace.tracestate,
        )
        existing = await self.store.run(lambda: self.store.do_create(instance, start_message(instance, now)))
        if existing is not None:
            raise AlreadyExistsError(f"An Orchestration instance with the status {existing} already exists.")
        self._targets.put(instance_id)

    async def send(self, target: str, event_type: EventType, **fields: object) -> None:
        """Send an instance or entity an event."""
        now = time.time()
        message = Message(target=target, event=event(event_type, now) | fields, deliver_at=now)
        await self.store.run(lambda: self.store.do_send([message]))
        self._targets.put(target)

    async def signal_entity(self, entity_id: str, operation: str, input_text: str | None) -> None:
        """Send an operation to an entity (`@name@key`, name in lower case); `input_text` is JSON text."""
        request = {
            "op": operation,
            "signal": True,
            "input": input_text,
            "id": str(uuid.uuid4()),
            "parent": None,
            "parentExecution": None,
        }
        await self.send(entity_id, EventType.EVENT_RAISED, Name="op", Input=json.dumps(request))

    async def rewind(self, instance: Instance, reason: str | None) -> None:
        """Take a failed instance, and the sub-orchestrations that failed it, back to before the failure."""
        texts = await self.store.run(lambda: self.store.do_history(instance.instance_id))
        history = [cast("Event", json.loads(text)) for text in texts]
        rewindable: set[str] = set()
        for child_id in last_failed_children(history):
            child = await self.store.run(lambda child_id=child_id: self.store.do_instance(child_id))
            if child is not None and child.status is Status.FAILED:
                rewindable.add(child_id)
                await self.rewind(child, reason)
        rewinding = rewound(instance, history, reason, rewindable)
        await self.store.run(
            lambda: self.store.do_rewrite(rewinding.instance, rewinding.history, [rewinding.wake_up])
        )
        self._targets.put(instance.instance_id)

    # Work

    async def _run_target(self, target: str) -> None:
        if target.startswith("@"):
            replies = await self._entities.run_batch(target)
            for reply in replies:
                self._targets.put(reply.target)
            if not replies:
                await self._wake_later(target)
        else:
            await self._run_episode(target)

    async def _run_episode(self, instance_id: str) -> None:
        loaded = await self.store.run(lambda: self.store.do_load(instance_id, time.time()))
        if loaded is None:
            return
        if not loaded.messages:
            await self._wake_later(instance_id)
            return
        episode = await self._play(loaded)
        work = await self.store.run(lambda: self.store.do_commit(episode))
        for item in work:
            self._work.put(item)
        for message in episode.messages:
            self._alarm.set(message.target, message.deliver_at)
        for child in episode.children:
            self._targets.put(child.instance.instance_id)
            self._targets.put(instance_id)
        if episode.instance.status.is_final:
            logger.info(
                "orchestration ended",
                extra={
                    "function": episode.instance.name,
                    "instance_id": instance_id,
                    "status": str(episode.instance.status),
                },
            )

    async def _wake_later(self, target: str) -> None:
        """Nothing is due yet although it rang: the wall clock was set back meanwhile."""
        at = await self.store.run(lambda: self.store.do_next_delivery(target))
        if at is not None and at > time.time():
            self._alarm.set(target, at)

    async def _play(self, loaded: Loaded) -> Episode:
        batch = take_batch(loaded)
        builder = EpisodeBuilder(loaded, batch)
        if not batch.events:
            return builder.nothing_new()
        if batch.termination is not None:
            return builder.terminated()
        if not batch.needs_function:
            return builder.only_control()
        try:
            answer = await self._ask_function(loaded.instance, builder)
            walk = ProgramWalk(
                instance_id=loaded.instance.instance_id,
                execution_id=loaded.instance.execution_id,
                answer=answer,
                known=self.functions,
                now=builder.now,
            ).walk(builder.history())
            return builder.answered(answer, walk)
        except (ReplayError, ProtocolError) as error:
            return builder.failed(f"Orchestrator function '{loaded.instance.name}' failed: {error}")

    async def _ask_function(self, instance: Instance, builder: EpisodeBuilder) -> OrchestratorAnswer:
        """Call the orchestrator with its history. Raises ReplayError, ProtocolError."""
        function = self.functions.durable(instance.name, "orchestrationTrigger")
        if function is None:
            raise ReplayError(str(self.functions.explain_missing(instance.name, "orchestrationTrigger")))
        argument = TextData(kind="string", text=builder.function_input())
        trace = TraceContext(traceparent=instance.traceparent, tracestate=instance.tracestate)
        outcome = await self._invoker.run(function, {function.trigger_name: argument}, trace)
        match outcome:
            case Success(value=TextData(text=text)):
                return parse_answer(text)
            case Success():
                raise ProtocolError("The data returned by the out-of-process function was not valid JSON.")
            case Failure(message=message):
                _, mark, state = message.partition(OUT_OF_PROC_MARK)
                if not mark:
                    raise ReplayError(message)
                return parse_answer(state)

    async def _run_work(self, work: Work) -> None:
        completion = Message(
            target=work.instance_id,
            execution_id=work.execution_id,
            event=await self._activities.run(work),
            deliver_at=time.time(),
        )
        await self.store.run(lambda: self.store.do_finish_work(work, completion))
        self._targets.put(work.instance_id)

    async def purge(self, instance_ids: Sequence[str]) -> int:
        """Delete instances; returns how many there were."""
        return await self.store.run(lambda: self.store.do_purge(instance_ids))
