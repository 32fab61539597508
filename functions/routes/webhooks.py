"""Operations that other services call: their webhooks."""

from __future__ import annotations

from functions.routes.operation import Access, Answer, Operation, QueryParameter

REALTIME_WEBHOOK = Operation(
    name="realtime_webhook",
    method="POST",
    path="v1/webhooks/realtime",
    access=Access.SIGNED,
    tag="webhooks",
    summary="Take the realtime service's webhooks: a phone call rings (`realtime.call.incoming`)",
    description=(
        "Signed as Standard Webhooks prescribe. A delivery has its effect once, however often it is sent; "
        "events of other types are taken and ignored."
    ),
    request="RealtimeWebhook",
    answers=(Answer(status=200, description="Handled, now or before, or ignored."),),
    problems={
        400: ("invalid_json", "invalid_body", "invalid_call_id"),
        409: ("delivery_under_way", "call_of_another_session", "session_ended"),
        502: ("provider_unauthorized",),
        503: ("delivery_too_slow", "orchestrations_unavailable"),
    },
)
ACS_WEBHOOK = Operation(
    name="acs_webhook",
    method="POST",
    path="v1/webhooks/acs/{session_id}",
    access=Access.CARRIER,
    tag="webhooks",
    summary="Take the callbacks of Azure Communication Services about one session's call",
    description=(
        "A CloudEvent, or an array of them. Each event has its effect once, however often it is sent; events "
        "of types that are not known, and elements that are no events, are taken and ignored."
    ),
    query=(
        QueryParameter(
            name="token",
            schema={"type": "string"},
            description="The token that this call's carrier was given for this address.",
            required=True,
        ),
    ),
    answers=(Answer(status=200, description="Handled, now or before, or ignored."),),
    problems={
        400: ("invalid_json", "invalid_session_id"),
        404: ("session_not_found",),
        409: ("delivery_under_way", "call_already_reported", "call_of_another_session", "inbox_full"),
        413: ("body_too_large",),
        502: ("carrier_unauthorized", "carrier_rejected"),
        503: (
            "delivery_too_slow",
            "orchestrations_unavailable",
            "carrier_unavailable",
            "carrier_unreachable",
            "carrier_rate_limited",
        ),
    },
)
