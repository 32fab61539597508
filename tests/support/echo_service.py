"""A realtime service that says what it hears, byte for byte: what media tests compare with.

It speaks the part of the GA Realtime API that a worker needs to carry audio. Each `input_audio_buffer.append`
comes back as one `response.output_audio.delta` of the response under way, which never ends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiohttp import WSMsgType, web


class EchoService:
    """`heard`: the audio of all appends, per session; `events`: other client events; `echo`: if it talks;
    `confirms`: whether it answers `session.update`."""

    def __init__(self) -> None:
        self.url = ""
        self.echo = True
        self.confirms = True
        self.heard: list[list[str]] = []
        self.events: list[dict[str, object]] = []
        self.sockets: list[web.WebSocketResponse] = []

    async def say(self, event: dict[str, object]) -> None:
        """Send an event to the newest session."""
        await self.sockets[-1].send_str(orjson.dumps(event).decode())

    async def confirm(self) -> None:
        """Answer the newest session's `session.update`."""
        await self.say({"type": "session.updated", "session": {"id": f"sess_{len(self.sockets)}"}})

    async def audio(self, response_id: str, item_id: str, audio: str) -> None:
        """Let the agent say something in the newest session."""
        await self.say(
            {
                "type": "response.output_audio.delta", "event_id": f"e{len(self.events)}",
                "response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0,
                "delta": audio,
            }
        )  # fmt: skip

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        number = len(self.sockets)
        self.sockets.append(socket)
        heard: list[str] = []
        self.heard.append(heard)
        await socket.send_str(f'{{"type":"session.created","session":{{"id":"sess_{number + 1}"}}}}')
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            event = orjson.loads(message.data)
            match event["type"]:
                case "session.update":
                    if self.confirms:
                        await self.confirm()
                case "input_audio_buffer.append":
                    heard.append(event["audio"])
                    if self.echo:
                        await self.audio("resp_echo", "item_echo", event["audio"])
                case _:
                    self.events.append(event)
        return socket

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/openai/v1/realtime", self._serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await asyncio.gather(*(socket.close() for socket in self.sockets))
            await runner.cleanup()
