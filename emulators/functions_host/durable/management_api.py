"""The HTTP API of the Durable extension: start, query, signal, steer and purge instances.

The same requests are served twice: to the SDK's client on a loopback port of their own, and to
the outside under `/runtime/webhooks/durabletask` with a key. Source: the extension's
`HttpApiHandler.cs`; what the SDK reads of the answers: `DurableOrchestrationClient.py`.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote

from aiohttp import web

from emulators.functions_host import trace_context
from emulators.functions_host.durable.client_payload import ManagementUrls
from emulators.functions_host.durable.engine import AlreadyExistsError, Engine, UnknownOrchestratorError
from emulators.functions_host.durable.history import EventType
from emulators.functions_host.durable.records import Instance, Query, Status
from emulators.functions_host.durable.status_view import history_view, status_view

_BAD_ID = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_CONTINUATION = "x-ms-continuation-token"


@dataclass(frozen=True, kw_only=True)
class ApiRequest:
    """One request, wherever it came in; `path` is decoded and below the API's base."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    origin: str
    """scheme://host:port of the public endpoint, for links."""

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class ManagementApi:
    """Answers requests to the API."""

    def __init__(self, engine: Engine, urls: ManagementUrls) -> None:
        self._engine = engine
        self._store = engine.store
        self._urls = urls

    async def handle(self, request: ApiRequest) -> web.Response:
        """Answer one request; an unknown path or method is 404."""
        parts = [p for p in request.path.strip("/").split("/") if p]
        match (request.method, *parts):
            case ("POST", "orchestrators", name):
                return await self._start(request, name, uuid.uuid4().hex)
            case ("POST", "orchestrators", name, instance_id):
                return await self._start(request, name, instance_id)
            case ("GET", "instances"):
                return await self._query(request)
            case ("DELETE", "instances"):
                return await self._purge_many(request)
            case ("GET", "instances", instance_id):
                return await self._status(request, instance_id)
            case ("DELETE", "instances", instance_id):
                return await self._purge(instance_id)
            case ("POST", "instances", instance_id, "raiseEvent", event_name):
                return await self._raise_event(request, instance_id, event_name)
            case ("POST", "instances", instance_id, operation):
                return await self._operate(request, instance_id, operation.casefold())
            case ("GET", "entities"):
                return await self._entities(request, None)
            case ("GET", "entities", name):
                return await self._entities(request, name.lower())
            case ("GET", "entities", name, key):
                return await self._entity(f"@{name.lower()}@{key}")
            case ("POST" | "DELETE" as method, "entities", name, key):
                operation = "delete" if method == "DELETE" else request.query.get("op", "")
                return await self._signal(request, f"@{name.lower()}@{key}", operation)
            case _:
                return web.Response(status=404)

    async def _start(self, request: ApiRequest, name: str, instance_id: str) -> web.Response:
        if _BAD_ID.search(instance_id) or instance_id.startswith("@") or len(instance_id) > 256:
            return _error(
                400,
                "Instance IDs must not start with '@', hold '/', '\\', '#', '?' or control characters, "
                "or be longer than 256 characters.",
            )
        try:
            raw_input = json.dumps(json.loads(request.body)) if request.body else None
        except ValueError as error:
            return _error(400, f"Invalid JSON content: {error}")
        trace = trace_context.from_headers(request.headers)
        try:
            await self._engine.start_instance(
                name, instance_id, raw_input, request.query.get("version"), trace
            )
        except UnknownOrchestratorError as error:
            return _error(400, str(error))
        except AlreadyExistsError as error:
            return _error(500, str(error))
        return await self._accepted(request, instance_id)

    async def _accepted(self, request: ApiRequest, instance_id: str) -> web.Response:
        """Answer with the links of a started instance, or with its output if the caller waits for it."""
        timeout = _float(request.query.get("timeout"))
        interval = _float(request.query.get("pollingInterval"))
        if timeout is not None and interval is not None:
            deadline = time.monotonic() + timeout
            while True:
                instance = await self._store.run(lambda: self._store.do_instance(instance_id))
                if instance is not None and instance.status.is_final:
                    return _final_output(instance)
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                await asyncio.sleep(min(left, max(interval, 0.01)))
        links = self._urls.of_instance(request.origin, quote(instance_id))
        links["id"] = instance_id
        del links["rewindPostUri"]
        return web.json_response(
            links, status=202, headers={"Location": links["statusQueryGetUri"], "Retry-After": "10"}
        )

    async def _status(self, request: ApiRequest, instance_id: str) -> web.Response:
        instance = await self._store.run(lambda: self._store.do_instance(instance_id))
        if instance is None:
            return web.Response(status=404)
        view = status_view(instance, show_input=_flag(request, "showInput", default=True))
        if _flag(request, "showHistory", default=False):
            texts = await self._store.run(lambda: self._store.do_history(instance_id))
            view["historyEvents"] = history_view(
                [json.loads(text) for text in texts],
                show_output=_flag(request, "showHistoryOutput", default=False),
            )
        if not instance.status.is_final:
            location = self._urls.of_instance(request.origin, quote(instance_id))["statusQueryGetUri"]
            return web.json_response(view, status=202, headers={"Location": location, "Retry-After": "5"})
        as_error = _flag(request, "returnInternalServerErrorOnFailure", default=False)
        return web.json_response(view, status=500 if as_error and instance.status is Status.FAILED else 200)

    async def _query(self, request: ApiRequest) -> web.Response:
        top = request.query.get("top", "")
        query = replace(
            _filter(request),
            prefix=request.query.get("instanceIdPrefix"),
            limit=int(top) if top.isdigit() else None,
            after=_continuation(request.headers.get(_CONTINUATION, "")),
        )
        found = await self._store.run(lambda: self._store.do_find(query))
        show_input = _flag(request, "showInput", default=True)
        headers: dict[str, str] = {}
        if query.limit is not None and len(found) == query.limit and found:
            headers[_CONTINUATION] = json.dumps([found[-1].created, found[-1].instance_id])
        return web.json_response([status_view(i, show_input=show_input) for i in found], headers=headers)

    async def _purge(self, instance_id: str) -> web.Response:
        instance = await self._store.run(lambda: self._store.do_instance(instance_id))
        if instance is None:
            return web.Response(status=404)
        if not instance.status.is_final:
            text = (
                "Only orchestrations in a terminal state can be purged, but the orchestration with "
                f"instance ID {instance_id} has status {instance.status}"
            )
            return web.json_response(text, status=412)
        return web.json_response({"instancesDeleted": await self._engine.purge([instance_id])})

    async def _purge_many(self, request: ApiRequest) -> web.Response:
        query = _filter(request)
        if query.created_from is None:
            return web.json_response("Please provide value for 'createdTimeFrom' parameter.", status=400)
        found = await self._store.run(lambda: self._store.do_find(query))
        deleted = await self._engine.purge([i.instance_id for i in found if i.status.is_final])
        return web.json_response({"instancesDeleted": deleted}, status=200 if deleted else 404)

    async def _raise_event(self, request: ApiRequest, instance_id: str, event_name: str) -> web.Response:
        instance = await self._store.run(lambda: self._store.do_instance(instance_id))
        if instance is None:
            return web.Response(status=404)
        if instance.status.is_final:
            return web.Response(status=410)
        if request.content_type != "application/json":
            return _error(400, "Only application/json request content is supported")
        try:
            payload = json.dumps(json.loads(request.body)) if request.body else "null"
        except ValueError as error:
            return _error(400, f"Invalid JSON content: {error}")
        await self._engine.send(instance_id, EventType.EVENT_RAISED, Name=event_name, Input=payload)
        return web.Response(status=202)

    async def _operate(self, request: ApiRequest, instance_id: str, operation: str) -> web.Response:
        operations: Mapping[str, Callable[[Instance, ApiRequest], Awaitable[web.Response]]] = {
            "terminate": self._steer(EventType.EXECUTION_TERMINATED, "Input"),
            "suspend": self._steer(EventType.EXECUTION_SUSPENDED, "Reason"),
            "resume": self._steer(EventType.EXECUTION_RESUMED, "Reason"),
            "rewind": self._rewind,
            "restart": self._restart,
        }
        if operation not in operations:
            return web.Response(status=404)
        instance = await self._store.run(lambda: self._store.do_instance(instance_id))
        if instance is None:
            return web.Response(status=404)
        return await operations[operation](instance, request)

    def _steer(
        self, event_type: EventType, field: str
    ) -> Callable[[Instance, ApiRequest], Awaitable[web.Response]]:
        async def operate(instance: Instance, request: ApiRequest) -> web.Response:
            if instance.status.is_final:
                return web.Response(status=410)
            fields = {field: request.query.get("reason")}
            await self._engine.send(instance.instance_id, event_type, **fields)
            return web.Response(status=202)

        return operate

    async def _rewind(self, instance: Instance, request: ApiRequest) -> web.Response:
        if instance.status is not Status.FAILED:
            return web.Response(status=410)
        await self._engine.rewind(instance, request.query.get("reason"))
        return web.Response(status=202)

    async def _restart(self, instance: Instance, request: ApiRequest) -> web.Response:
        as_new = _flag(request, "restartWithNewInstanceId", default=True)
        instance_id = uuid.uuid4().hex if as_new else instance.instance_id
        trace = trace_context.from_headers(request.headers)
        try:
            await self._engine.start_instance(
                instance.name, instance_id, instance.input, instance.version, trace
            )
        except UnknownOrchestratorError as error:
            return _error(400, str(error))
        except AlreadyExistsError as error:
            return _error(500, str(error))
        return await self._accepted(request, instance_id)

    async def _entities(self, request: ApiRequest, name: str | None) -> web.Response:
        with_state = _flag(request, "fetchState", default=False)
        entities = await self._store.run(lambda: self._store.do_entities(name))
        return web.json_response(
            [
                {
                    "entityId": dict(zip(("name", "key"), e.entity_id.split("@", 2)[1:], strict=True)),
                    "lastOperationTime": datetime.fromtimestamp(e.updated, UTC).isoformat(),
                    **({"state": json.loads(e.state)} if e.state and with_state else {}),
                }
                for e in entities
            ]
        )

    async def _entity(self, entity_id: str) -> web.Response:
        entity = await self._store.run(lambda: self._store.do_entity(entity_id))
        if entity is None:
            return web.Response(status=404)
        return web.Response(text=entity.state or "null", content_type="application/json")

    async def _signal(self, request: ApiRequest, entity_id: str, operation: str) -> web.Response:
        if why := self._engine.functions.explain_missing(entity_id.split("@")[1], "entityTrigger"):
            return _error(400, why)
        input_text: str | None = None
        if request.body:
            try:
                is_json = request.content_type == "application/json"
                content = json.loads(request.body) if is_json else request.body.decode()
            except ValueError as error:
                return _error(400, f"Could not parse JSON content: {error}")
            input_text = json.dumps(content)
        await self._engine.signal_entity(entity_id, operation, input_text)
        return web.Response(status=202)


def _final_output(instance: Instance) -> web.Response:
    if instance.status is Status.COMPLETED:
        return web.Response(text=instance.output or "null", content_type="application/json")
    status = 500 if instance.status is Status.FAILED else 200
    return web.json_response(status_view(instance, show_input=True), status=status)


def _error(status: int, message: str) -> web.Response:
    """Answer with the error body of ASP.NET Web API; the SDK's client reads ExceptionMessage."""
    return web.json_response(
        {
            "Message": message if status == 400 else "Something went wrong while processing your request",
            "ExceptionMessage": message,
            "ExceptionType": "System.ArgumentException"
            if status == 400
            else "System.InvalidOperationException",
            "StackTrace": None,
        },
        status=status,
    )


def _filter(request: ApiRequest) -> Query:
    statuses = request.query.get("runtimeStatus", "")
    return Query(
        created_from=_moment(request.query.get("createdTimeFrom")),
        created_to=_moment(request.query.get("createdTimeTo")),
        statuses=[s for s in statuses.split(",") if s],
    )


def _flag(request: ApiRequest, name: str, *, default: bool) -> bool:
    value = request.query.get(name, "").lower()
    return value == "true" if value in ("true", "false") else default


def _float(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _moment(text: str | None) -> float | None:
    try:
        parsed = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if parsed is None:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _continuation(token: str) -> tuple[float, str] | None:
    try:
        created, instance_id = json.loads(token)
        return float(created), str(instance_id)
    except (ValueError, TypeError):
        return None
