"""`python -m benchmarks.floor_client WS_URL CALL_PREFIX COUNT`: the least that can hold sidebands.

aiohttp and orjson, one read loop a socket: confirm nothing, record nothing, answer a function call in
the same step. What the worker costs beyond this is what it does for its money.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import cast

import aiohttp
import orjson

# As the worker has it: a socket like this one is what is compared.
_PING_S = 20.0


async def run(url: str, call_ids: list[str]) -> None:
    """Hold a sideband to each call until the process is ended; print `ready` when all are open."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as tasks:
        for call_id in call_ids:
            tasks.create_task(follow(await connect(http, url, call_id)))
        print("ready", flush=True)


async def connect(http: aiohttp.ClientSession, url: str, call_id: str) -> aiohttp.ClientWebSocketResponse:
    """Attach to a call and configure it."""
    socket = await http.ws_connect(f"{url}?call_id={call_id}", heartbeat=_PING_S, compress=0)
    await _send(socket, {"type": "session.update", "session": {"type": "realtime"}})
    return socket


async def follow(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Answer function calls until the socket closes."""
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue
        event = cast("dict[str, object]", orjson.loads(message.data))
        if event["type"] == "response.output_item.done":
            item = cast("dict[str, object]", event["item"])
            if item["type"] != "function_call":
                continue
            output = {"type": "function_call_output", "call_id": item["call_id"], "output": item["arguments"]}
            await _send(socket, {"type": "conversation.item.create", "item": output})
            await _send(socket, {"type": "response.create"})


async def _send(socket: aiohttp.ClientWebSocketResponse, event: Mapping[str, object]) -> None:
    await socket.send_str(orjson.dumps(event).decode())


def main(arguments: list[str]) -> None:
    """Run on uvloop where it is installed, as the worker does."""
    url, prefix, count = arguments
    program = run(url, [f"{prefix}{number}" for number in range(int(count))])
    try:
        import uvloop
    except ImportError:
        asyncio.run(program)
    else:
        uvloop.run(program)


if __name__ == "__main__":
    main(sys.argv[1:])
