"""Callbacks of Azure Communication Services: what becomes of a session's phone call."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import azure.durable_functions as df
import azure.functions as func

from functions.call_events import CallEvents
from functions.endpoint import Call, durable_endpoint
from functions.orchestrations import Orchestrations
from functions.routes import webhooks as routes
from shared.errors import SidetoneError, UnavailableError

blueprint = df.Blueprint()

_CALLBACKS = "webhooks/acs"
# Ends before the claim on a delivery does (shared.store.deliveries.CLAIM_S), and before the sender gives up.
_HANDLED_WITHIN_S = 9.0


@durable_endpoint(blueprint, routes.ACS_WEBHOOK)
async def acs_webhook(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Believe the sender by both tokens, and have each event's effect once.

    An event that fails does not keep the others of its batch from theirs; the batch is asked for again.
    """
    from shared.telemetry.logs import get_logger
    from shared.telephony.acs.events import callback_events

    await _authenticated(call)
    log = get_logger("functions.webhooks")
    events, unreadable = callback_events(call.request.get_body())
    if unreadable:
        log.warning("callback_unreadable", extra={"elements_count": unreadable})
    handler = CallEvents(call.dependencies, orchestrations, call.session_id, call.traceparent)
    failure: SidetoneError | None = None
    try:
        async with asyncio.timeout(_HANDLED_WITHIN_S):
            for event in events:
                source = f"{_CALLBACKS}/{call.session_id}"
                try:
                    async with call.dependencies.deliveries.handling(source, event.event_id) as first:
                        if first:
                            await handler.take(event)
                except SidetoneError as error:
                    log.warning("callback_failed", extra={"kind": event.kind, "code": error.code})
                    failure = failure or error
    except TimeoutError:
        raise UnavailableError(
            "delivery_too_slow", "The callback was not handled in time; send it again.", retry_after_s=1.0
        ) from None
    if failure is not None:
        raise failure
    return func.HttpResponse(status_code=int(HTTPStatus.OK))


async def _authenticated(call: Call) -> None:
    """Return for a request of the carrier about this session; raise 401, 403 or 503."""
    needs = call.dependencies
    needs.tokens.verify_callback_token(call.request.params.get("token", ""), call.session_id)
    if needs.acs_tokens is None or needs.acs is None:
        raise UnavailableError(
            "acs_not_configured",
            "Set ACS_RESOURCE_ID and ACS_ENDPOINT (or ACS_CONNECTION_STRING): without them no callback is "
            "believed.",
        )
    await needs.acs_tokens.verify(call.request.headers.get("authorization", ""))
