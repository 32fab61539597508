"""The host's public HTTP endpoint: triggers, extension webhooks, admin API, keys, CORS.

Status codes as in Azure: 404 for an unknown route or a method the route does not take, 401 for
a missing or wrong key, 500 with an empty body when a function raises.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from emulators.functions_host import eventgrid, trace_context
from emulators.functions_host.app_functions import AppFunctions
from emulators.functions_host.app_model import Failure, Function, TextData
from emulators.functions_host.durable.management_api import ApiRequest, ManagementApi
from emulators.functions_host.http_messages import (
    MAX_BODY,
    header_values,
    origin_of,
    query_values,
    request_data,
    response_of,
)
from emulators.functions_host.invoker import Invoker
from emulators.functions_host.keys import Keys, given_key
from emulators.functions_host.routing import Router, decode_path
from emulators.functions_host.timers import TimerService

logger = logging.getLogger("functions_host.http")

_HOME = "<!doctype html><title>Functions</title><p>Your function app is up and running."
_WEBHOOK_METHODS = ("GET", "PUT", "POST", "DELETE", "OPTIONS")


@dataclass(frozen=True, kw_only=True)
class Served:
    """What the endpoint serves. `keys` None: no key is checked, as `func start` does."""

    functions: AppFunctions
    router: Router
    invoker: Invoker
    api: ManagementApi
    timers: TimerService
    keys: Keys | None
    cors: Sequence[str]


class WebServer:
    """Request handling; see `application`."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._background: set[asyncio.Task[object]] = set()

    def application(self) -> web.Application:
        """Return the aiohttp application: one handler for every path."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def close(self) -> None:
        """Cancel functions started through the admin API; idempotent."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        allowed = origin if origin and ({"*", origin} & set(self._served.cors)) else ""
        if allowed and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return web.Response(status=204, headers=_preflight_headers(request, allowed))
        try:
            response = await self._dispatch(request)
        except web.HTTPRequestEntityTooLarge:
            response = web.Response(status=413)
        if allowed:
            response.headers["Access-Control-Allow-Origin"] = allowed
            response.headers.add("Vary", "Origin")
        return response

    async def _dispatch(self, request: web.Request) -> web.Response:
        path = decode_path(request.rel_url.raw_path)
        first, _, rest = path.partition("/")
        match first.casefold():
            case "":
                return web.Response(text=_HOME, content_type="text/html")
            case "runtime" if rest.casefold().startswith("webhooks/"):
                extension, _, below = rest[len("webhooks/") :].partition("/")
                return await self._webhook(request, extension.casefold(), below)
            case "admin":
                return await self._admin(request, rest)
            case _:
                return await self._http_trigger(request)

    async def _http_trigger(self, request: web.Request) -> web.Response:
        found = self._served.router.resolve(request.method, request.rel_url.raw_path)
        if found is None:
            return web.Response(status=404)
        function, route_params = found
        level = str(function.trigger.get("authLevel", "FUNCTION"))
        keys = self._served.keys
        if keys is not None and not keys.allows(level, function.name, _key_of(request)):
            return web.Response(status=401)
        data = await request_data(request, route_params)
        trace = trace_context.from_headers(data.headers) or trace_context.begin()
        outcome = await self._served.invoker.run(function, {function.trigger_name: data}, trace)
        return web.Response(status=500) if isinstance(outcome, Failure) else response_of(outcome.value)

    async def _webhook(self, request: web.Request, extension: str, below: str) -> web.Response:
        if extension not in ("eventgrid", "durabletask") or request.method not in _WEBHOOK_METHODS:
            return web.Response(status=404)
        keys = self._served.keys
        if keys is not None and not keys.allows_extension(extension, _key_of(request)):
            return web.Response(status=401)
        headers, query, body = header_values(request), query_values(request), await request.read()
        if extension == "eventgrid":
            served = self._served
            return await eventgrid.receive(
                served.functions, served.invoker, request.method, headers, query, body
            )
        return await self._served.api.handle(
            ApiRequest(
                method=request.method,
                path=below,
                query=query,
                headers=headers,
                body=body,
                origin=origin_of(request),
            )
        )

    async def _admin(self, request: web.Request, path: str) -> web.Response:
        keys = self._served.keys
        if keys is not None and not keys.allows_admin(_key_of(request)):
            return web.Response(status=401)
        match (request.method, *path.casefold().split("/")):
            case ("GET" | "POST", "host", "ping"):
                return web.Response()
            case ("GET", "host", "status"):
                return web.json_response({"state": "Running", "errors": []})
            case ("GET", "functions"):
                return web.json_response([_described(f) for f in self._served.functions.all()])
            case ("GET", "functions", name) if function := self._served.functions.named(name):
                return web.json_response(_described(function))
            case ("POST", "functions", name) if function := self._served.functions.named(name):
                return await self._run_by_hand(request, function)
            case _:
                return web.Response(status=404)

    async def _run_by_hand(self, request: web.Request, function: Function) -> web.Response:
        """`POST /admin/functions/<name>` with `{"input": ...}` runs any function that has no route."""
        try:
            content = json.loads(await request.read() or b"{}")
        except ValueError:
            return web.Response(status=400)
        if not isinstance(content, Mapping) or function.trigger_type == "httpTrigger":
            return web.Response(status=400)
        given = content.get("input")
        text = given if isinstance(given, str) else json.dumps(given)
        if function.trigger_type == "timerTrigger":
            work = self._served.timers.run_once(function)
        else:
            data = TextData(
                kind="json" if function.trigger_type == "eventGridTrigger" else "string", text=text
            )
            work = self._served.invoker.run(function, {function.trigger_name: data}, trace_context.begin())
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return web.Response(status=202)


def rpc_application(api: ManagementApi, base: str, public_origin: str) -> web.Application:
    """Return the loopback endpoint for the SDK's client: the management API below `base`, no key."""

    async def handle(request: web.Request) -> web.Response:
        return await api.handle(
            ApiRequest(
                method=request.method,
                path=decode_path(request.rel_url.raw_path).removeprefix(base.strip("/")),
                query=query_values(request),
                headers=header_values(request),
                body=await request.read(),
                origin=public_origin,
            )
        )

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", f"{base}/{{path:.*}}", handle)
    return app


def _key_of(request: web.Request) -> str:
    return given_key({k.lower(): v for k, v in request.headers.items()}, request.query)


def _preflight_headers(request: web.Request, allowed: str) -> Mapping[str, str]:
    return {
        "Access-Control-Allow-Origin": allowed,
        "Access-Control-Allow-Methods": request.headers["Access-Control-Request-Method"],
        "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ""),
        "Vary": "Origin",
    }


def _described(function: Function) -> Mapping[str, object]:
    return {"name": function.name, "config": {"bindings": function.bindings}, "language": "python"}
