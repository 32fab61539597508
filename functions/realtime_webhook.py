"""The realtime service's webhooks: phone calls that reach the model by SIP."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import azure.durable_functions as df
import azure.functions as func

from functions.endpoint import Call, durable_endpoint
from functions.inbound_calls import InboundCalls
from functions.orchestrations import Orchestrations
from functions.requests import json_body
from functions.routes import webhooks as routes
from shared.errors import InvalidRequestError, UnavailableError
from shared.ids import parse_call_id

if TYPE_CHECKING:
    from functions.bodies import RealtimeWebhook
    from shared.security.webhook_signatures import WebhookVerifier

blueprint = df.Blueprint()

INCOMING_CALL = "realtime.call.incoming"
# By which names a delivery, and a call that several deliveries may tell of, are remembered.
_WEBHOOKS = "webhooks/realtime"
_CALLS = "webhooks/realtime/calls"
# Ends before the claim on the delivery does (shared.store.deliveries.CLAIM_S).
_HANDLED_WITHIN_S = 15.0
# No call rings this long: five minutes for our clock, and more than any carrier waits for an answer.
_RINGS_AT_MOST_S = 600


@durable_endpoint(blueprint, routes.REALTIME_WEBHOOK)
async def realtime_webhook(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Verify, and have the event's effect once. Whatever fails in a way that passes is sent again."""
    from functions.bodies import RealtimeWebhook
    from shared.telemetry.logs import get_logger

    headers = {name.lower(): value for name, value in call.request.headers.items()}
    delivery_id = await _verifier(call).verify(call.request.get_body(), headers)
    event = json_body(call.request, RealtimeWebhook)
    async with call.dependencies.deliveries.handling(_WEBHOOKS, delivery_id) as first:
        if first:
            await _handle(call, orchestrations, event)
        else:
            get_logger("functions.webhooks").info("webhook_repeated", extra={"type": event.type})
    return func.HttpResponse(status_code=int(HTTPStatus.OK))


def _verifier(call: Call) -> WebhookVerifier:
    verifier = call.dependencies.webhooks
    if verifier is None:
        raise UnavailableError(
            "webhook_not_configured",
            "Set REALTIME_WEBHOOK_SECRETS to the signing secret of the webhook endpoint (whsec_…).",
        )
    return verifier


async def _handle(call: Call, orchestrations: Orchestrations, event: RealtimeWebhook) -> None:
    from shared.telemetry.logs import get_logger

    if event.type != INCOMING_CALL:
        get_logger("functions.webhooks").info("webhook_ignored", extra={"type": event.type})
        return
    if event.created_at is not None and time.time() - event.created_at > _RINGS_AT_MOST_S:
        get_logger("functions.webhooks").info("webhook_too_late", extra={"type": event.type})
        return
    try:
        async with asyncio.timeout(_HANDLED_WITHIN_S):
            await _incoming_call(call, orchestrations, event)
    except TimeoutError:
        raise UnavailableError(
            "delivery_too_slow",
            f"The call could not be taken within {_HANDLED_WITHIN_S:g} s; it is gone on with when this "
            "delivery comes again.",
            retry_after_s=1.0,
        ) from None


async def _incoming_call(call: Call, orchestrations: Orchestrations, event: RealtimeWebhook) -> None:
    import msgspec

    from functions.bodies import IncomingSipCall
    from shared.telephony.sip import SipCall, sip_call

    try:
        data = msgspec.convert(event.data, IncomingSipCall)
    except msgspec.ValidationError as error:
        raise InvalidRequestError("invalid_body", f"The body's data does not fit: {error}.") from error
    incoming = sip_call(
        parse_call_id(data.call_id), ((header.name, header.value) for header in data.sip_headers)
    )
    needs = call.dependencies
    # Where two webhook endpoints lead here, each tells of the call, under an id of its own.
    async with needs.deliveries.handling(_CALLS, incoming.call_id) as first:
        if first:
            ringing = SipCall(needs.provider, incoming)
            await InboundCalls(needs, orchestrations, call.traceparent).take(ringing)
