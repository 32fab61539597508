"""From a row of the route table to a registered function: checks before the handler, problems after it."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import azure.durable_functions as df
import azure.functions as func

from functions.orchestrations import Orchestrations
from functions.problems import internal_problem, problem_of
from functions.routes.operation import Access, Operation
from shared.errors import SidetoneError

if TYPE_CHECKING:
    from functions.authorisation import Caller
    from functions.dependencies import Dependencies

_CLIENT_BINDING = "durable_client"
_WORKER_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that has passed the checks of its route: size, session id, authorisation."""

    request: func.HttpRequest
    session_id: str
    caller: Caller
    dependencies: Dependencies
    traceparent: str


Handler = Callable[[Call], Awaitable[func.HttpResponse]]
DurableHandler = Callable[[Call, Orchestrations], Awaitable[func.HttpResponse]]
OpenHandler = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


def endpoint(blueprint: df.Blueprint, operation: Operation) -> Callable[[Handler], Handler]:
    """Register the decorated handler as `operation`."""

    def register(handler: Handler) -> Handler:
        async def invoke(request: func.HttpRequest) -> func.HttpResponse:
            return await _answer(request, operation, handler)

        invoke.__name__ = operation.name
        _route(blueprint, operation)(invoke)
        return handler

    return register


def durable_endpoint(
    blueprint: df.Blueprint, operation: Operation
) -> Callable[[DurableHandler], DurableHandler]:
    """Register the decorated handler as `operation`, with access to the orchestrations."""

    def register(handler: DurableHandler) -> DurableHandler:
        async def invoke(
            request: func.HttpRequest, durable_client: df.DurableOrchestrationClient
        ) -> func.HttpResponse:
            orchestrations = Orchestrations(durable_client)

            async def with_orchestrations(call: Call) -> func.HttpResponse:
                return await handler(call, orchestrations)

            return await _answer(request, operation, with_orchestrations)

        invoke.__name__ = operation.name
        _route(blueprint, operation)(blueprint.durable_client_input(client_name=_CLIENT_BINDING)(invoke))
        return handler

    return register


def open_endpoint(blueprint: df.Blueprint, operation: Operation) -> Callable[[OpenHandler], OpenHandler]:
    """Register a handler that needs no authorisation and must work without settings, such as health."""

    def register(handler: OpenHandler) -> OpenHandler:
        async def invoke(request: func.HttpRequest) -> func.HttpResponse:
            return await handler(request)

        invoke.__name__ = operation.name
        _route(blueprint, operation)(invoke)
        return handler

    return register


def auth_level(access: Access) -> func.AuthLevel:
    """Return the key that the Functions host asks for.

    Levels are fixed when functions are indexed, before there are settings, so API_AUTH is read from the
    environment here; ControlPlaneSettings.api_auth checks it later. Behind Easy Auth the platform asks
    for a sign-in and the app checks the principal; tokens of ours are the app's to verify.
    """
    by_key = os.environ.get("API_AUTH", "function_key") != "easy_auth"
    return func.AuthLevel.FUNCTION if access is Access.APPLICATION and by_key else func.AuthLevel.ANONYMOUS


def _route(blueprint: df.Blueprint, operation: Operation) -> Callable[[object], object]:
    named = blueprint.function_name(name=operation.name)
    routed = blueprint.route(
        trigger_arg_name="request",
        route=operation.path,
        methods=[operation.method],
        auth_level=auth_level(operation.access),
    )
    return lambda function: named(routed(function))


async def _answer(request: func.HttpRequest, operation: Operation, handler: Handler) -> func.HttpResponse:
    from functions.dependencies import dependencies
    from shared.telemetry import names
    from shared.telemetry.logs import bind_session
    from shared.telemetry.trace_context import span

    session_id = request.route_params.get("session_id", "")
    # They set telemetry up: without them the first span of a process, and so its whole trace, is lost.
    # What they raise is raised again below, where it becomes a problem response.
    with contextlib.suppress(Exception):
        await dependencies()
    with (
        bind_session(session_id),
        span(
            f"{operation.method} /api/{operation.path}",
            parent=request.headers.get("traceparent", ""),
            kind="server",
            attributes={"http.request.method": operation.method, "http.route": f"/api/{operation.path}"},
        ) as opened,
    ):
        if session_id:
            opened.set_attribute(names.SESSION_ID, session_id)
        try:
            response = await handler(await _checked(request, operation, session_id))
        except Exception as error:
            response = _problem(error, operation, session_id)
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                opened.fail_with(error)
        opened.set_attribute("http.response.status_code", response.status_code)
        return response


def _problem(error: Exception, operation: Operation, session_id: str) -> func.HttpResponse:
    from shared.telemetry import metrics
    from shared.telemetry.logs import get_logger
    from shared.telemetry.trace_context import current_trace_id

    log = get_logger("functions.http")
    instance = "/api/" + operation.path.replace("{session_id}", session_id)
    # Without a trace the log record still needs something that the caller can quote.
    trace_id = current_trace_id() or secrets.token_hex(16)
    fields: dict[str, object] = {"operation": operation.name, "trace_id": trace_id}
    if not isinstance(error, SidetoneError):
        log.error("request_failed", exc_info=error, extra={**fields, "error_type": type(error).__name__})
        return internal_problem(instance=instance, trace_id=trace_id)
    fields |= {"code": error.code, "status": int(error.status)}
    metrics.count_refused(code=error.code)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request_failed", extra={**fields, "detail": error.detail})
    else:
        log.info("request_refused", extra=fields)
    return problem_of(error, instance=instance, trace_id=trace_id)


async def _checked(request: func.HttpRequest, operation: Operation, session_id: str) -> Call:
    from functions.authorisation import authorise
    from functions.dependencies import dependencies
    from functions.requests import check_size
    from shared.ids import parse_session_id
    from shared.telemetry.trace_context import current_traceparent

    needs = await dependencies()
    if operation.of_a_session:
        parse_session_id(session_id)
    caller = authorise(request, operation.access, session_id, needs)
    limit = needs.settings.max_body_bytes
    # A worker's message carries what the model wrote, and must not get lost for its size.
    check_size(request, max(limit, _WORKER_BODY_BYTES) if operation.access is Access.WORKER else limit)
    return Call(
        request=request,
        session_id=session_id,
        caller=caller,
        dependencies=needs,
        traceparent=current_traceparent(),
    )
