"""Phone calls that Event Grid tells of: `Microsoft.Communication.IncomingCall`.

The host answers the subscription's validation, in both schemas, and runs this function once for each event
of a delivery. Where one fails the whole delivery is sent again, so an event that can never be handled is
logged and let go: it must not keep the others busy.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import azure.durable_functions as df
import azure.functions as func

from functions.carriers import carrier_of
from functions.inbound_calls import InboundCalls
from functions.orchestrations import Orchestrations
from shared.errors import SidetoneError, UnavailableError

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from shared.telephony.acs.events import IncomingCall

blueprint = df.Blueprint()

# By which names a delivery, and a call that several deliveries may tell of, are remembered.
_EVENTS = "event-grid"
_CALLS = "event-grid/calls"
# Ends before the claim on the delivery does (shared.store.deliveries.CLAIM_S).
_HANDLED_WITHIN_S = 15.0
# No call rings this long: five minutes for our clock, and more than any carrier waits for an answer.
_RINGS_AT_MOST_S = 600


async def incoming_call(event: func.EventGridEvent, durable_client: df.DurableOrchestrationClient) -> None:
    """Take one event; in CloudEvents' schema it is a `func.CloudEvent`, which has the same names here."""
    from functions.dependencies import dependencies
    from shared.telemetry.trace_context import span

    needs = await dependencies()
    with span("incoming_call", kind="server") as opened:
        try:
            await _take(needs, Orchestrations(durable_client), event)
        except SidetoneError as error:
            opened.fail_with(error)
            if error.retryable:
                raise  # Event Grid sends it again
            _log_failure(error)


def _log_failure(error: SidetoneError) -> None:
    from shared.telemetry.logs import get_logger

    get_logger("functions.events").error(
        "event_dropped", extra={"code": error.code, "detail": error.detail, "status": int(error.status)}
    )


blueprint.function_name(name="incoming_call")(
    blueprint.event_grid_trigger(arg_name="event")(
        blueprint.durable_client_input(client_name="durable_client")(incoming_call)
    )
)


async def _take(needs: Dependencies, orchestrations: Orchestrations, event: func.EventGridEvent) -> None:
    from shared.telemetry.logs import get_logger
    from shared.telephony.acs.events import INCOMING_CALL, incoming_call

    log = get_logger("functions.events")
    kind, event_id, source, at = _envelope(event)
    if kind != INCOMING_CALL:
        log.info("event_ignored", extra={"type": kind})
        return
    if at is not None and (datetime.now(UTC) - at).total_seconds() > _RINGS_AT_MOST_S:
        log.info("event_too_late", extra={"type": kind})
        return
    incoming = incoming_call(event.get_json())
    carrier_of(needs)  # told before anything is claimed
    async with needs.deliveries.handling(f"{_EVENTS}:{source}", event_id or incoming.call.call_id) as first:
        if first:
            await _handle(needs, orchestrations, incoming)
        else:
            log.info("event_repeated", extra={"type": kind})


async def _handle(needs: Dependencies, orchestrations: Orchestrations, incoming: IncomingCall) -> None:
    from shared.telemetry.trace_context import current_traceparent
    from shared.telephony.acs.ringing import AcsRingingCall

    try:
        async with (
            asyncio.timeout(_HANDLED_WITHIN_S),
            # Where two subscriptions lead here, each tells of the call, under an id of its own.
            needs.deliveries.handling(_CALLS, incoming.call.call_id) as first,
        ):
            if first:
                ringing = AcsRingingCall(carrier_of(needs), incoming)
                await InboundCalls(needs, orchestrations, current_traceparent()).take(ringing)
    except TimeoutError:
        raise UnavailableError(
            "delivery_too_slow",
            f"The call could not be taken within {_HANDLED_WITHIN_S:g} s; it is gone on with when this "
            "event comes again.",
            retry_after_s=1.0,
        ) from None


def _envelope(event: func.EventGridEvent) -> tuple[str, str, str, datetime | None]:
    """Return type, id, source and time of an event of either schema; senders may leave out what they want."""
    kind = getattr(event, "event_type", None) or getattr(event, "type", None) or ""
    source = getattr(event, "topic", None) or getattr(event, "source", None) or ""
    at = getattr(event, "event_time", None) or getattr(event, "time", None)
    if isinstance(at, datetime) and at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return str(kind), str(event.id or ""), str(source), at if isinstance(at, datetime) else None
