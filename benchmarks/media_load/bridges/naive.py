"""The bridge as samples write it: aiohttp on both sides, each message through json and base64, both ways.

Takes the service's WebSocket address; prints "ready PORT".
"""

import asyncio
import base64
import json
import sys

import aiohttp
from aiohttp import web


async def carry(request: web.Request) -> web.WebSocketResponse:
    carrier = web.WebSocketResponse()
    await carrier.prepare(request)
    async with request.app["http"].ws_connect(sys.argv[1]) as service:

        async def say() -> None:
            async for message in service:
                event = json.loads(message.data)
                if event["type"] == "response.output_audio.delta":
                    audio = base64.b64decode(event["delta"])
                    told = {
                        "Kind": "AudioData",
                        "AudioData": {"Data": base64.b64encode(audio).decode("ascii")},
                        "StopAudio": None,
                    }
                    await carrier.send_str(json.dumps(told, separators=(",", ":")))

        saying = asyncio.create_task(say())
        async for message in carrier:
            event = json.loads(message.data)
            if event["kind"] == "AudioData":
                audio = base64.b64decode(event["audioData"]["data"])
                append = {
                    "type": "input_audio_buffer.append",
                    "audio": base64.b64encode(audio).decode("ascii"),
                }
                await service.send_str(json.dumps(append, separators=(",", ":")))
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


asyncio.run(main())
