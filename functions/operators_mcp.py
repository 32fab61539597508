"""The endpoint where operators' MCP clients reach Sidetone; what it needs is imported when first asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import azure.durable_functions as df
import azure.functions as func

from functions.authorisation import check_operator
from functions.endpoint import Call, durable_endpoint, endpoint
from functions.orchestrations import Orchestrations
from functions.requests import check_content_type
from functions.routes import mcp as routes
from shared.errors import ForbiddenError

if TYPE_CHECKING:
    import msgspec

blueprint = df.Blueprint()

_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


@durable_endpoint(blueprint, routes.MCP)
async def operators_mcp(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Answer one MCP request."""
    needs = call.dependencies
    check_operator(call.caller)
    _check_origin(call.request, needs.settings.mcp_allowed_origins)
    check_content_type(call.request, "application/json")
    await needs.limits.check_rate(call.caller.principal, "mcp", needs.settings.mcp_requests_per_minute)

    await asyncio.to_thread(import_module, "functions.mcp_exchange")  # takes a second, once
    from functions.mcp_exchange import answer
    from functions.operator_tools import TOOLS

    async def run(name: str, arguments: Mapping[str, object]) -> msgspec.Struct:
        return await TOOLS[name].run(call, orchestrations, arguments)

    return await answer(call.request, run, max_body_bytes=needs.settings.max_body_bytes)


@endpoint(blueprint, routes.MCP_STREAM)
async def operators_mcp_stream(call: Call) -> func.HttpResponse:
    """Say that there is no stream."""
    check_operator(call.caller)
    return func.HttpResponse(status_code=int(HTTPStatus.METHOD_NOT_ALLOWED), headers={"Allow": "POST"})


def _check_origin(request: func.HttpRequest, allowed: str) -> None:
    """Raise 403 `origin_not_allowed` for a web page that nobody has allowed.

    Programs send no Origin. Pages on this machine may reach a server on this machine, by its own name:
    a name that somebody else has pointed here is not its own.
    """
    origin = request.headers.get("origin", "")
    if not origin or origin in {one.strip() for one in allowed.split(",")}:
        return
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    if urlsplit(origin).hostname in _THIS_MACHINE and host in _THIS_MACHINE:
        return
    raise ForbiddenError(
        "origin_not_allowed",
        "Web pages of this origin may not call this; MCP_ALLOWED_ORIGINS lists those that may.",
    )
