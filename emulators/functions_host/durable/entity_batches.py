"""Run a batch of operations on one entity and answer its callers.

Source: the extension's `TaskEntityShim.cs`, the SDK's `entity.py`. Operations of one entity run
one after another; those that wait are taken together, as one batch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import cast

from emulators.functions_host.app_functions import AppFunctions
from emulators.functions_host.app_model import Failure, Success, TextData
from emulators.functions_host.durable.history import EventType, event
from emulators.functions_host.durable.records import Entity, Message
from emulators.functions_host.durable.store import Store
from emulators.functions_host.invoker import Invoker
from emulators.functions_host.trace_context import begin


class EntityRunner:
    """Runs entity functions."""

    def __init__(self, store: Store, functions: AppFunctions, invoker: Invoker) -> None:
        self._store = store
        self._functions = functions
        self._invoker = invoker

    async def run_batch(self, entity_id: str) -> Sequence[Message]:
        """Run what waits for `entity_id` (`@name@key`). Returns the replies that were sent."""
        messages, entity = await self._store.run(
            lambda: (self._store.do_due(entity_id, time.time()), self._store.do_entity(entity_id))
        )
        if not messages:
            return ()
        requests = [cast("Mapping[str, object]", json.loads(str(m.event["Input"]))) for m in messages]
        after, results = await self._run(entity_id, entity, requests)
        replies = [_reply(r, result) for r, result in zip(requests, results, strict=True) if not r["signal"]]
        consumed = [m.id for m in messages]
        await self._store.run(lambda: self._store.do_commit_entity(entity_id, after, consumed, replies))
        return replies

    async def _run(
        self, entity_id: str, entity: Entity | None, requests: Sequence[Mapping[str, object]]
    ) -> tuple[Entity | None, Sequence[Mapping[str, object]]]:
        """Return the entity afterwards and a result per request."""
        _, name, key = entity_id.split("@", 2)
        function = self._functions.durable(name, "entityTrigger")
        if function is None:
            why = self._functions.explain_missing(name, "entityTrigger")
            return entity, [_error(str(why)) for _ in requests]
        batch = {
            "self": {"name": name, "key": key},
            "exists": entity is not None,
            "state": entity.state if entity else None,
            "batch": [{"name": r["op"], "input": r["input"], "isSignal": r["signal"]} for r in requests],
        }
        argument = TextData(kind="string", text=json.dumps(batch))
        outcome = await self._invoker.run(function, {function.trigger_name: argument}, begin())
        match outcome:
            case Failure(message=message):
                return entity, [_error(message) for _ in requests]
            case Success(value=value):
                answer = json.loads(value.text) if isinstance(value, TextData) else {}
                after = Entity(entity_id=entity_id, state=answer["entityState"], updated=time.time())
                return after if answer["entityExists"] else None, answer["results"]


def _error(text: str) -> Mapping[str, object]:
    return {"isError": True, "result": json.dumps(text)}


def _reply(request: Mapping[str, object], result: Mapping[str, object]) -> Message:
    body: dict[str, object] = {"result": result["result"]}
    if result["isError"]:
        body["exceptionType"] = "Error"
    now = time.time()
    return Message(
        target=str(request["parent"]),
        execution_id=str(request["parentExecution"]),
        event=event(EventType.EVENT_RAISED, now, Name=request["id"], Input=json.dumps(body)),
        deliver_at=now,
    )
