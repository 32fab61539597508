"""The WebSocket side: plain sessions (`?model=`) and sidebands (`?call_id=`)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from aiohttp import WSMsgType, web

from emulators.realtime.authentication import Authentication, is_ephemeral
from emulators.realtime.calls import not_found
from emulators.realtime.listeners import SocketListener
from emulators.realtime.live_session import LiveSession
from emulators.realtime.rest_routes import BASES
from emulators.realtime.service import RealtimeService
from emulators.realtime.session.validation import missing

# 15 MiB of audio is 20 MiB of base64; a larger frame closes the connection with 1009.
_MAX_FRAME_BYTES = 21 * 1024 * 1024


class SocketRoutes:
    """Handlers of `GET …/realtime`."""

    def __init__(self, service: RealtimeService, authentication: Authentication) -> None:
        self._service = service
        self._authentication = authentication
        self._numbers = itertools.count(1)

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        for base in BASES:
            app.router.add_get(f"{base}/realtime", self.connect)

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Open a session, or attach to a call."""
        options = self._service.options
        call_id = request.query.get("call_id")
        if call_id is not None:
            if is_ephemeral(request):
                raise not_found()
            self._authentication.require_key(request)
            session = self._service.calls.attachable(call_id)
            return await self._serve(
                request, session, "sideband", audio=options.sideband_audio, greet=options.greet_sidebands
            )
        self._authentication.require_key(request)
        model = request.query.get("model")
        if not model:
            raise missing("model")
        call = self._service.open_websocket(model)
        assert call.session is not None
        try:
            return await self._serve(request, call.session, "websocket", audio=True, greet=True)
        finally:
            call.end("client_closed")

    async def _serve(
        self, request: web.Request, session: LiveSession, kind: str, *, audio: bool, greet: bool
    ) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            protocols=("realtime",), max_msg_size=_MAX_FRAME_BYTES, compress=False, timeout=1.0
        )
        await socket.prepare(request)
        listener = SocketListener(request, socket, f"{kind}-{next(self._numbers)}", audio=audio)
        sending = asyncio.create_task(listener.run())
        try:
            if session.ended is not None:
                listener.end(1000, session.ended)
            else:
                session.attach(listener, greet=greet)
            async for message in socket:
                if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                    session.client_frame(listener, message.data)
        finally:
            session.detach(listener)
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
        return socket
