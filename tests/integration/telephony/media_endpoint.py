"""Where the service opens media sockets, in a worker's place: it keeps what it was told in each handshake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from shared.security.tokens import TokenRing
from tests.support.eventually import eventually


@dataclass
class MediaSocket:
    """One handshake of the service, and the socket."""

    session_id: str
    authorization: str
    call_id: str
    socket: web.WebSocketResponse = field(repr=False)


class MediaEndpoint:
    """Accepts whoever has a media token of ours for the session; the others get 401 or 403."""

    def __init__(self, ring: TokenRing) -> None:
        self._ring = ring
        self.url = ""
        self.sockets: list[MediaSocket] = []
        self.refuse = 0  # how many handshakes to refuse

    async def take(self, request: web.Request) -> web.StreamResponse:
        session_id = request.query["session"]
        self._ring.verify_media_token(request.query["token"], session_id)
        if self.refuse:
            self.refuse -= 1
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        headers = request.headers
        self.sockets.append(
            MediaSocket(session_id, headers["Authorization"], headers["x-ms-call-connection-id"], socket)
        )
        async for _ in socket:
            pass
        return socket

    async def of_call(self, call_id: str, number: int = 1) -> MediaSocket:
        """Wait for the `number`-th media socket of a call."""

        def found() -> MediaSocket | None:
            of_call = [each for each in self.sockets if each.call_id == call_id]
            return of_call[number - 1] if len(of_call) >= number else None

        socket = await eventually(found, what=f"media socket {number} of {call_id}")
        assert socket is not None
        return socket

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/api/v1/media/stream", self.take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await asyncio.gather(*(each.socket.close() for each in self.sockets))
            await runner.cleanup()
