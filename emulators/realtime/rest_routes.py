"""The REST side: client secrets, calls, webhook endpoints. Paths below `/openai/v1` and `/v1`.

Source: `openai/resources/realtime` and `openai/resources/webhooks` of the public Python SDK; Azure's webhook
endpoints lie under `/dashboard`.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from aiohttp import web

from emulators.realtime.authentication import Authentication, is_ephemeral, unauthorised
from emulators.realtime.sdp import check_offer
from emulators.realtime.service import RealtimeService
from emulators.realtime.session.validation import check_session, missing, number, require_object
from emulators.realtime.wire import Json, RejectedError, as_text, text_at

BASES = ("/openai/v1", "/v1")


class RestRoutes:
    """Handlers of the REST API."""

    def __init__(self, service: RealtimeService, authentication: Authentication) -> None:
        self._service = service
        self._authentication = authentication

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        for base in BASES:
            add = app.router.add_route
            calls = f"{base}/realtime/calls"
            add("POST", f"{base}/realtime/client_secrets", self.client_secrets)
            add("POST", calls, self.create_call)
            add("POST", f"{calls}/{{call_id}}/accept", self.accept)
            add("POST", f"{calls}/{{call_id}}/reject", self.reject)
            add("POST", f"{calls}/{{call_id}}/refer", self.refer)
            add("POST", f"{calls}/{{call_id}}/hangup", self.hang_up)
            for place in ("/dashboard/webhook_endpoints", "/webhook_endpoints"):
                hooks = f"{base}{place}"
                add("GET", hooks, self.list_webhooks)
                add("POST", hooks, self.create_webhook)
                add("GET", f"{hooks}/{{endpoint_id}}", self.get_webhook)
                add("POST", f"{hooks}/{{endpoint_id}}", self.update_webhook)
                add("DELETE", f"{hooks}/{{endpoint_id}}", self.delete_webhook)

    async def client_secrets(self, request: web.Request) -> web.Response:
        self._authentication.require_key(request)
        return json_response(self._service.secrets.create(await json_body(request)))

    async def create_call(self, request: web.Request) -> web.Response:
        filtered = request.query.get("webrtcfilter") == "on"
        if request.content_type == "multipart/form-data":
            if is_ephemeral(request):
                raise unauthorised(request)
            self._authentication.require_key(request)
            offer, requested = await _multipart(request)
            model = text_at(requested, "model")
        elif request.content_type == "application/sdp":
            secret = self._authentication.require_key_or_secret(request)
            offer = await _sdp_text(request)
            requested = secret.session if secret else {}
            model = secret.model if secret else request.query.get("model", "")
        else:
            self._authentication.require_key_or_secret(request)
            raise RejectedError(
                "unsupported_content_type",
                "Unsupported content type. This API method only accepts 'application/sdp' and "
                f"'multipart/form-data' requests, but you specified the header 'Content-Type: "
                f"{request.content_type}'.",
            )
        if not model:
            raise missing("session.model")
        call, answer = await self._service.create_webrtc_call(
            check_offer(offer), requested, model, filtered=filtered
        )
        return web.Response(
            status=201,
            body=answer.encode(),
            content_type="application/sdp",
            headers={"Location": f"/v1/realtime/calls/{call.id}"},
        )

    async def accept(self, request: web.Request) -> web.Response:
        self._authentication.require_key(request)
        call = self._service.calls.unended(request.match_info["call_id"])
        session = check_session(await json_body(request), transport="sip")
        if not isinstance(session.get("model"), str):
            raise missing("session.model")
        self._service.accept(call.id, session)
        return web.Response()

    async def reject(self, request: web.Request) -> web.Response:
        self._authentication.require_key(request)
        body = await json_body(request)
        number(body, "status_code", "body", low=300, high=699, whole=True)
        status = body.get("status_code")
        self._service.reject(request.match_info["call_id"], status if isinstance(status, int) else 603)
        return web.Response()

    async def refer(self, request: web.Request) -> web.Response:
        self._authentication.require_key(request)
        target = as_text((await json_body(request)).get("target_uri"))
        if target is None:
            raise missing("target_uri")
        if not target.startswith(("tel:", "sip:", "sips:")):
            raise RejectedError(
                "invalid_value", "'target_uri' must be a tel: or sip: URI.", param="target_uri"
            )
        self._service.refer(request.match_info["call_id"], target)
        return web.Response()

    async def hang_up(self, request: web.Request) -> web.Response:
        self._authentication.require_key(request)
        self._service.hang_up(request.match_info["call_id"])
        return web.Response()

    async def list_webhooks(self, request: web.Request) -> web.Response:
        self._authentication.require_key(request)
        return json_response(self._service.webhooks.list())

    async def create_webhook(self, request: web.Request) -> web.Response:
        self._authentication.require_key(request)
        return json_response(self._service.webhooks.create(await json_body(request)))

    async def get_webhook(self, request: web.Request) -> web.Response:
        self._authentication.require_key(request)
        return json_response(self._service.webhooks.get(request.match_info["endpoint_id"]).shown())

    async def update_webhook(self, request: web.Request) -> web.Response:
        self._authentication.require_key(request)
        endpoint_id = request.match_info["endpoint_id"]
        return json_response(self._service.webhooks.update(endpoint_id, await json_body(request)))

    async def delete_webhook(self, request: web.Request) -> web.Response:
        self._authentication.require_key(request)
        return json_response(self._service.webhooks.delete(request.match_info["endpoint_id"]))


async def json_body(request: web.Request) -> Json:
    """Return the request's JSON object, {} for no body; raises RejectedError (400) for anything else."""
    body = await request.read()
    if not body:
        return {}
    try:
        return require_object(orjson.loads(body), "body")
    except orjson.JSONDecodeError:
        raise RejectedError(
            "invalid_json", "We could not parse the JSON body of your request. It must be a JSON object."
        ) from None


def json_response(body: Mapping[str, object], status: int = 200) -> web.Response:
    """Return `body` as a JSON response."""
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


async def _sdp_text(request: web.Request) -> str:
    try:
        return (await request.read()).decode()
    except UnicodeDecodeError:
        raise RejectedError("invalid_offer", "The SDP offer is not text.", param="sdp") from None


async def _multipart(request: web.Request) -> tuple[str, Json]:
    try:
        form = await request.post()
    except ValueError as error:
        raise RejectedError("invalid_multipart", f"Could not parse the multipart body: {error}.") from None
    offer, session = _part(form.get("sdp")), _part(form.get("session"))
    if offer is None:
        raise missing("sdp")
    if session is None:
        raise missing("session")
    try:
        parsed: object = orjson.loads(session)
    except orjson.JSONDecodeError:
        raise RejectedError("invalid_json", "The 'session' part is not JSON.", param="session") from None
    return offer, check_session(parsed, transport="webrtc")


def _part(value: object) -> str | None:
    if isinstance(value, web.FileField):
        value = value.file.read()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return value if isinstance(value, str) else None
