"""One MCP request, answered by the SDK's streamable HTTP server as if it stood behind a socket.

Stateless: a server object lives for one request. So any instance of the app can answer any request, and
nothing is left to clean up. Source: MCP, streamable HTTP, 2025-11-25 and 2026-07-28.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import azure.functions as func
import mcp_types as types
import msgspec
from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from functions.operator_tools import TOOLS
from shared.errors import SidetoneError, UnavailableError
from shared.mcp import quiet_sdk as quiet_sdk
from shared.telemetry.logs import get_logger

# A request that takes longer is of no use to whoever waits, and keeps the instance from others.
LONGEST_S = 20.0

RunTool = Callable[[str, Mapping[str, object]], Awaitable[msgspec.Struct]]

_log = get_logger(__name__)


async def answer(request: func.HttpRequest, run: RunTool, *, max_body_bytes: int) -> func.HttpResponse:
    """Return the answer to an MCP request; `run` runs a tool by name, and raises SidetoneError."""
    manager = StreamableHTTPSessionManager(
        _server(run), json_response=True, stateless=True, max_request_body_size=max_body_bytes
    )
    exchange = _Exchange(request)
    try:
        async with asyncio.timeout(LONGEST_S), manager.run():
            await manager.asgi_app(exchange.scope(), exchange.receive, exchange.send)
    except TimeoutError as error:
        raise UnavailableError("mcp_too_slow", f"No answer within {LONGEST_S:g} seconds.") from error
    return exchange.response()


def _server(run: RunTool) -> Server[Any]:
    async def list_tools(
        context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=_LISTED)

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        if params.name not in TOOLS:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name[:64]}.")
        try:
            body = await run(params.name, params.arguments or {})
        except msgspec.ValidationError as error:
            return _failed(f"invalid_arguments: {error}.")
        except SidetoneError as error:
            _log.info("an operator's tool was refused", extra={"tool": params.name, "code": error.code})
            told = error.detail if error.status < 500 or error.retryable else "The server failed on this."
            return _failed(f"{error.code}: {told}")
        structured: object = msgspec.to_builtins(body)
        text = msgspec.json.encode(body).decode()
        return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=structured)

    return Server(
        "sidetone",
        version="1.0",
        title="Sidetone",
        instructions="Voice sessions: what goes on, what was said, and what waits for a person's approval.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


_LISTED = [
    types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.schema(),
        annotations=types.ToolAnnotations(
            read_only_hint=tool.reads_only, destructive_hint=not tool.reads_only, open_world_hint=False
        ),
    )
    for tool in TOOLS.values()
]


class _Exchange:
    """A request and its response in the terms of ASGI."""

    def __init__(self, request: func.HttpRequest) -> None:
        self._request = request
        self._sent = False
        self._status = 500
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def scope(self) -> dict[str, Any]:
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in self._request.headers.items()
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": "https",
            "path": "/mcp",
            "raw_path": b"/mcp",
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": None,
            "server": ("sidetone", 443),
        }

    async def receive(self) -> dict[str, Any]:
        if self._sent:
            await asyncio.Event().wait()  # nobody hangs up: the host has the whole request, and waits
        self._sent = True
        return {"type": "http.request", "body": self._request.get_body(), "more_body": False}

    async def send(self, message: Mapping[str, Any]) -> None:
        match message["type"]:
            case "http.response.start":
                self._status = int(message["status"])
                self._headers = {
                    name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]
                }
            case "http.response.body":
                self._body += message.get("body", b"")
            case _:
                pass

    def response(self) -> func.HttpResponse:
        kept = {
            name: value
            for name, value in self._headers.items()
            if name.lower() not in ("content-length", "content-type", "connection", "cache-control")
        }
        return func.HttpResponse(
            bytes(self._body),
            status_code=self._status,
            headers={**kept, "Cache-Control": "no-store"},
            mimetype=self._headers.get("content-type", "application/json").partition(";")[0],
        )
