"""The HTTP server: routes, error bodies, REST faults."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler

from emulators.realtime.admin_routes import AdminRoutes
from emulators.realtime.authentication import Authentication
from emulators.realtime.browser_access import answer_pages
from emulators.realtime.faults import Fault
from emulators.realtime.mind.thoughts import Minds
from emulators.realtime.options import EmulatorOptions
from emulators.realtime.rest_routes import RestRoutes, json_response
from emulators.realtime.service import RealtimeService
from emulators.realtime.socket_routes import SocketRoutes
from emulators.realtime.wire import RejectedError

logger = logging.getLogger(__name__)

_MAX_BODY_BYTES = 2 * 1024 * 1024
_CODES = {401: "401", 403: "forbidden", 404: "not_found", 429: "rate_limit_exceeded"}


class EmulatorServer:
    """A running emulator. `port` is the real one when 0 was asked for."""

    def __init__(self, options: EmulatorOptions, minds: Minds) -> None:
        self.options = options
        self.port = options.port
        self.service = RealtimeService(options, minds)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it is reached, without a path."""
        return f"http://{self.options.host}:{self.port}"

    async def start(self) -> None:
        """Accept requests; raises OSError when the port is taken."""
        authentication = Authentication(
            self.options.api_keys,
            accept_any_jwt=self.options.accept_any_jwt,
            secrets=self.service.secrets,
        )
        app = web.Application(middlewares=[answer_pages, self._answer], client_max_size=_MAX_BODY_BYTES)
        RestRoutes(self.service, authentication).add_to(app)
        SocketRoutes(self.service, authentication).add_to(app)
        AdminRoutes(self.service).add_to(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        self._runner = runner
        site = web.TCPSite(runner, self.options.host, self.options.port, backlog=1024)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        sockets = cast(asyncio.Server, site._server).sockets  # pyright: ignore[reportPrivateUsage]
        self.port = int(sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End every call and stop serving; idempotent."""
        await self.service.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            route = _route_name(request)
            fault = self.service.http_faults.take("http", route=route) if route else None
            if fault is not None:
                if fault.ms:
                    await asyncio.sleep(fault.ms / 1000)
                if fault.status or not fault.ms:
                    return _failed(fault)
            return await handler(request)
        except RejectedError as rejected:
            return json_response(rejected.body(), status=rejected.status)
        except web.HTTPException as refused:
            code = _CODES.get(refused.status)
            message = f"{refused.reason} ({request.method} {request.path})"
            rejected = RejectedError(code, message, status=refused.status)
            return json_response(rejected.body(), status=refused.status)
        except Exception:
            logger.exception("A request failed", extra={"path": request.path})
            failure = RejectedError("server_error", "The emulator failed; see its log.", kind="server_error")
            return json_response(failure.body(), status=500)


def _route_name(request: web.Request) -> str:
    """What `http` faults call the route of a request; "" for those that never fail."""
    if request.path.startswith("/_emu"):
        return ""
    if request.path.endswith("/realtime"):
        return "sideband" if "call_id" in request.query else "websocket"
    name = request.path.rstrip("/").rpartition("/")[2]
    return name if "webhook_endpoints" not in request.path else "webhook_endpoints"


def _failed(fault: Fault) -> web.Response:
    status = fault.status or 500
    code = fault.code or _CODES.get(status, "server_error")
    kind = "server_error" if status >= 500 else "invalid_request_error"
    rejected = RejectedError(code, fault.message or "A fault on request.", kind=kind)
    response = json_response(rejected.body(), status=status)
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response
