"""An MCP server on a real socket whose every answer is the test's to choose.

Speaks streamable HTTP by hand, of 2026-07-28 or (`legacy`) of before, so that it can hang, die in the middle
of an answer, answer what is no JSON, or send more than anybody should read. Source: MCP specification.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from aiohttp import web

from tests.support.ports import free_port

OnCall = Callable[[str, Mapping[str, Any], web.Request], Awaitable[object]]
MODERN, OLD = "2026-07-28", "2025-11-25"


def tool(name: str, properties: Mapping[str, object] = {}, **more: object) -> dict[str, object]:
    """Return a tool as it is listed."""
    schema = {"type": "object", "properties": dict(properties), "required": list(properties)}
    return {"name": name, "description": f"Does {name}.", "inputSchema": schema, **more}


def text_result(text: str, **more: object) -> dict[str, object]:
    """Return the result of a tool that answers with text."""
    return {"content": [{"type": "text", "text": text}], "isError": False, **more}


class ScriptedMcpServer:
    """Use as an async context manager. `on_call` answers a tools/call: a result, or a whole response.

    calls: the params of every tools/call. listings: how often the tools were listed.
    """

    def __init__(self, *tools: Mapping[str, object], legacy: bool = False, token: str = "") -> None:
        self.tools = [dict(one) for one in tools]
        self.legacy = legacy
        self.token = token
        self.port = free_port()
        self.on_call: OnCall = self._echo
        self.calls: list[Mapping[str, Any]] = []
        self.listings = 0
        self._streams: list[asyncio.Queue[dict[str, object]]] = []
        self._questions: dict[object, asyncio.Future[dict[str, Any]]] = {}
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, also again after `stop`, at the same address."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/mcp", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Close every connection, and listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def changed(self) -> None:
        """Tell everybody who listens that the tools have changed."""
        for stream in self._streams:
            await stream.put({"method": "notifications/tools/list_changed"})

    @property
    def listeners(self) -> int:
        return len(self._streams)

    async def ask(
        self,
        request: web.Request,
        question: Mapping[str, object],
        then: Callable[[Mapping[str, Any]], object],
    ) -> web.StreamResponse:
        """Answer a tools/call as servers of before 2026-07-28 do that ask in its middle.

        question: the params of elicitation/create. then: makes the call's result of the answer.
        """
        message = await request.json()
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        number = f"q{len(self.calls)}"
        answered = self._questions[number] = asyncio.get_running_loop().create_future()
        await _send(response, {"id": number, "method": "elicitation/create", "params": question})
        await _send(response, {"id": message["id"], "result": then(await answered)})
        await response.write_eof()
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"error": "invalid_token"}, status=401)
        if request.method == "GET":
            return await self._stream(request, None)
        if request.method != "POST":
            return web.Response(status=200)
        message = await request.json()
        if "method" not in message:
            self._questions.pop(message["id"]).set_result(message["result"])
            return web.Response(status=202)
        if "id" not in message:
            return web.Response(status=202)
        result = await self._result(message, request)
        if isinstance(result, web.StreamResponse):
            return result
        headers = {"mcp-session-id": "s1"} if message["method"] == "initialize" else {}
        key = "error" if isinstance(result, dict) and "code" in result else "result"
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], key: result}, headers=headers)

    async def _result(self, message: Mapping[str, Any], request: web.Request) -> object:
        params = message.get("params") or {}
        complete = {} if self.legacy else {"resultType": "complete", "ttlMs": 0, "cacheScope": "public"}
        capabilities = {"tools": {"listChanged": True}}
        match message["method"]:
            case "initialize":
                info = {"name": "scripted", "version": "1"}
                return {"protocolVersion": OLD, "capabilities": capabilities, "serverInfo": info}
            case "server/discover" if not self.legacy:
                return {"capabilities": capabilities, "supportedVersions": [MODERN], **complete}
            case "subscriptions/listen" if not self.legacy:
                return await self._stream(request, message["id"])
            case "tools/list":
                self.listings += 1
                return {"tools": self.tools, **complete}
            case "tools/call":
                self.calls.append(params)
                answer = await self.on_call(params["name"], params.get("arguments") or {}, request)
                if isinstance(answer, dict) and not self.legacy and "code" not in answer:
                    return {"resultType": "complete", **answer}
                return answer
            case _:
                return {"code": -32601, "message": "Method not found"}

    async def _stream(self, request: web.Request, subscription: object) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        queue: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        meta = {"io.modelcontextprotocol/subscriptionId": subscription}
        if subscription is not None:
            params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
            await _send(response, {"method": "notifications/subscriptions/acknowledged", "params": params})
        self._streams.append(queue)
        try:
            while True:
                message = await queue.get()
                await _send(response, {**message, **({"params": {"_meta": meta}} if subscription else {})})
        finally:
            self._streams.remove(queue)

    @staticmethod
    async def _echo(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        return text_result(json.dumps({"tool": name, "arguments": arguments}))


async def _send(response: web.StreamResponse, message: Mapping[str, object]) -> None:
    data = json.dumps({"jsonrpc": "2.0", **message})
    await response.write(f"event: message\ndata: {data}\n\n".encode())
