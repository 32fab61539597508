"""A realtime service that costs next to nothing: just enough of the GA Realtime API for a sideband.

It accepts any call id, confirms `session.update`, takes function call outputs and answers
`response.create` at once, so that what is measured is not the service. It also takes a worker's
messages to the control plane, for benchmarks that have none.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import cast

import orjson
from aiohttp import WSMsgType, web

_ANSWER_WITHIN_S = 30.0
_USAGE = {
    "total_tokens": 120,
    "input_tokens": 100,
    "output_tokens": 20,
    "input_token_details": {"text_tokens": 100, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 20, "audio_tokens": 0},
}


class FloorCall:
    """One call, seen from the service."""

    def __init__(self) -> None:
        self.configured = asyncio.Event()
        self._socket: web.WebSocketResponse | None = None
        self._numbers = itertools.count(1)
        self._outputs: dict[str, asyncio.Future[float]] = {}
        self._answered = asyncio.Event()

    async def round_trip(self, tool: str) -> float:
        """Let the model call `tool`; return the milliseconds until its output is on our wire.

        Returns once the worker has also asked for the next response and got it.
        """
        number = next(self._numbers)
        tool_call_id, response_id = f"call_{number}", f"resp_call_{number}"
        item = {
            "id": f"item_{number}",
            "object": "realtime.item",
            "type": "function_call",
            "status": "completed",
            "name": tool,
            "call_id": tool_call_id,
            "arguments": f'{{"number": {number}}}',
        }
        arrival = self._outputs[tool_call_id] = asyncio.get_running_loop().create_future()
        self._answered.clear()
        await self._send("response.created", response=_response(response_id, "in_progress"))
        called_at = time.perf_counter()
        await self._send("response.output_item.done", response_id=response_id, output_index=0, item=item)
        await self._send("response.done", response=_response(response_id, "completed", item))
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            arrived_at = await arrival
            await self._answered.wait()
        return (arrived_at - called_at) * 1000

    async def serve(self, socket: web.WebSocketResponse) -> None:
        """Answer the client events of a sideband until it closes."""
        self._socket = socket
        async for message in socket:
            at = time.perf_counter()
            if message.type is not WSMsgType.TEXT:
                continue
            event = cast("dict[str, object]", orjson.loads(message.data))
            match event["type"]:
                case "session.update":
                    await self._send("session.updated", session=event["session"])
                    self.configured.set()
                case "conversation.item.create":
                    await self._take(cast("dict[str, object]", event["item"]), at)
                case "response.create":
                    await self._respond(cast("dict[str, object]", event.get("response") or {}))
                case _:
                    pass

    async def _take(self, item: Mapping[str, object], at: float) -> None:
        arrival = self._outputs.pop(str(item.get("call_id")), None)
        if arrival is not None:
            arrival.set_result(at)
        stored = {**item, "id": f"item_output_{next(self._numbers)}", "status": "completed"}
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self._send(kind, previous_item_id=None, item=stored)

    async def _respond(self, asked: Mapping[str, object]) -> None:
        response_id = f"resp_{next(self._numbers)}"
        metadata = asked.get("metadata")
        for kind, status in (("response.created", "in_progress"), ("response.done", "completed")):
            await self._send(kind, response={**_response(response_id, status), "metadata": metadata})
        self._answered.set()

    async def _send(self, kind: str, **fields: object) -> None:
        assert self._socket is not None, "no sideband is attached"
        event = {"type": kind, "event_id": f"event_{next(self._numbers)}", **fields}
        await self._socket.send_str(orjson.dumps(event).decode())


class FloorProvider:
    """The service, listening on 127.0.0.1. An async context manager."""

    def __init__(self) -> None:
        self.url = ""
        self._calls: defaultdict[str, FloorCall] = defaultdict(FloorCall)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> FloorProvider:
        app = web.Application()
        app.router.add_get("/openai/v1/realtime", self._sideband)
        app.router.add_post("/openai/v1/realtime/calls/{call_id}/hangup", _nothing)
        app.router.add_post("/api/v1/sessions/{session_id}/lifecycle", _nothing)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def attached(self, call_id: str) -> FloorCall:
        """Return the call once its sideband has been configured."""
        call = self._calls[call_id]
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await call.configured.wait()
        return call

    async def _sideband(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await self._calls[request.query["call_id"]].serve(socket)
        return socket


async def _nothing(_: web.Request) -> web.Response:
    return web.Response(status=202)


def _response(response_id: str, status: str, *output: Mapping[str, object]) -> dict[str, object]:
    response: dict[str, object] = {"id": response_id, "object": "realtime.response", "status": status}
    return response | {"output": list(output), "usage": _USAGE if status == "completed" else None}
