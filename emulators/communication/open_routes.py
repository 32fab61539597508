"""What anybody may fetch (keys, OpenID configuration, validation of a subscription), and recordings."""

from __future__ import annotations

from aiohttp import web

from emulators.communication.authentication import Authentication
from emulators.communication.service import CommunicationService
from emulators.communication.tokens import CONFIGURATION_PATH, KEYS_PATH
from emulators.communication.wire import NOT_FOUND, RejectedError, answer


class OpenRoutes:
    """Handlers beside the REST API."""

    def __init__(self, service: CommunicationService, authentication: Authentication) -> None:
        self._service = service
        self._authentication = authentication

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.router.add_get(KEYS_PATH, self.keys)
        app.router.add_get(CONFIGURATION_PATH, self.configuration)
        app.router.add_get("/eventsubscriptions/{name}/validate", self.validate)
        app.router.add_get("/v1/objects/{document}/content/video", self.content)
        app.router.add_get("/v1/objects/{document}/content/acsmetadata", self.metadata)
        app.router.add_delete("/v1/objects/{document}", self.delete)

    async def keys(self, request: web.Request) -> web.Response:
        return answer(self._service.signer.jwks())

    async def configuration(self, request: web.Request) -> web.Response:
        return answer(self._service.signer.configuration(str(request.url.origin())))

    async def validate(self, request: web.Request) -> web.Response:
        """Event Grid's `validationUrl`."""
        name, code = request.match_info["name"], request.query.get("id", "")
        if not self._service.event_grid.validated_by_url(name, code):
            raise RejectedError(404, NOT_FOUND, "There is no such validation.")
        return web.Response(text="Webhook successfully validated as a subscription endpoint")

    async def content(self, request: web.Request) -> web.Response:
        await self._authentication.require(request)
        recording = self._service.recordings.document(request.match_info["document"])
        return web.Response(body=recording.wav(), content_type="audio/wav")

    async def metadata(self, request: web.Request) -> web.Response:
        await self._authentication.require(request)
        return answer(self._service.recordings.metadata(request.match_info["document"]))

    async def delete(self, request: web.Request) -> web.Response:
        await self._authentication.require(request)
        self._service.recordings.delete(request.match_info["document"])
        return answer()
