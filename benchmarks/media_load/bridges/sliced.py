"""A bridge of aiohttp's WebSockets on both sides that cuts text out of messages; without any conversation.

Takes the service's WebSocket address; prints "ready PORT".
"""

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web

_APPEND, _APPEND_END = '{"type":"input_audio_buffer.append","audio":"', '"}'
_PLAY, _PLAY_END = '{"Kind":"AudioData","AudioData":{"Data":"', '"},"StopAudio":null}'


def cut(message: str, before: str) -> str:
    at = message.find(before)
    return message[at + len(before) : message.find('"', at + len(before))] if at >= 0 else ""


async def carry(request: web.Request) -> web.WebSocketResponse:
    carrier = web.WebSocketResponse(compress=False)
    await carrier.prepare(request)
    async with request.app["http"].ws_connect(sys.argv[1]) as service:

        async def say() -> None:
            async for message in service:
                if audio := cut(message.data, '"delta":"'):
                    await carrier.send_str(_PLAY + audio + _PLAY_END)

        saying = asyncio.create_task(say())
        async for message in carrier:
            if audio := cut(message.data, '"data":"'):
                await service.send_str(_APPEND + audio + _APPEND_END)
        saying.cancel()
    return carrier


async def main() -> None:
    app = web.Application()
    app["http"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    app.router.add_get("/{path:.*}", carry)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("ready", runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


uvloop.run(main())
