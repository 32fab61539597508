"""The HTTP server: routes, error bodies, and the same over TLS."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.typedefs import Handler

from emulators.communication.admin_routes import AdminRoutes
from emulators.communication.authentication import Authentication
from emulators.communication.caller_routes import CallerRoutes
from emulators.communication.listening import Listening
from emulators.communication.open_routes import OpenRoutes
from emulators.communication.options import EmulatorOptions
from emulators.communication.rest_routes import RestRoutes
from emulators.communication.service import CommunicationService
from emulators.communication.tls import server_context
from emulators.communication.wire import NOT_FOUND, RejectedError, answer

logger = logging.getLogger(__name__)

_LARGEST_BODY = 64 * 1024 * 1024  # a recording of several minutes


class EmulatorServer:
    """A running emulator. `port` and `tls_port` are the real ones when 0 was asked for."""

    def __init__(self, options: EmulatorOptions) -> None:
        """ValueError where the key is not base64."""
        self.options = options
        self.port = options.port
        self.tls_port = options.tls_port
        self._authentication = Authentication(options.key, accept_any_jwt=options.accept_any_jwt)
        self._service: CommunicationService | None = None
        self._runner: web.AppRunner | None = None

    @property
    def service(self) -> CommunicationService:
        """What is behind the routes; only after `start`."""
        assert self._service is not None
        return self._service

    @property
    def url(self) -> str:
        """Where it is reached, without a path."""
        return f"http://{self.options.host}:{self.port}"

    @property
    def tls_url(self) -> str | None:
        """Where it is reached over TLS."""
        return f"https://{self.options.host}:{self.tls_port}" if self.options.tls else None

    async def start(self) -> None:
        """Accept requests; raises OSError when a port is taken or the certificate is not in order."""
        context = server_context(self.options.tls) if self.options.tls else None
        app = web.Application(middlewares=[_answer], client_max_size=_LARGEST_BODY)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        sockets = Listening(self.options.host, self.options.port, self.options.tls_port, context)
        try:
            sockets.bind()
            self.port, self.tls_port = sockets.port, sockets.tls_port
            self._service = CommunicationService(self.options, self.url)
            RestRoutes(self._service, self._authentication).add_to(app)
            OpenRoutes(self._service, self._authentication).add_to(app)
            AdminRoutes(self._service).add_to(app)
            CallerRoutes(self._service).add_to(app)
            await runner.setup()
            self._runner = runner
            await sockets.serve(runner)
        except OSError:
            sockets.close()
            await self.close()
            raise
        self._service.start()

    async def close(self) -> None:
        """End every call and stop serving; idempotent."""
        service, self._service = self._service, None
        if service is not None:
            await service.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


@web.middleware
async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await _handled(request, handler)
    # The SDK asks to see its own id again.
    if request.headers.get("x-ms-return-client-request-id") == "true":
        response.headers["x-ms-client-request-id"] = request.headers.get("x-ms-client-request-id", "")
    return response


async def _handled(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RejectedError as rejected:
        return answer(rejected.body(), status=rejected.status)
    except web.HTTPException as refused:
        message = f"{refused.reason} ({request.method} {request.path})"
        code = NOT_FOUND if refused.status == 404 else str(refused.status)
        return answer({"error": {"code": code, "message": message}}, status=refused.status)
    except Exception:
        resource = request.match_info.route.resource
        where = resource.canonical if resource is not None else ""  # a path itself may hold a number
        logger.exception("A request failed", extra={"method": request.method, "resource": where})
        return answer({"error": {"code": "9998", "message": "The emulator failed; see its log."}}, status=500)
