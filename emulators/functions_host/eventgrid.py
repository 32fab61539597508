"""The Event Grid webhook: handshake, deliveries, one invocation an event.

Source: `HttpRequestProcessor.cs` of Microsoft.Azure.WebJobs.Extensions.EventGrid. If one event
of a delivery fails the answer is 500, and Event Grid sends the whole delivery again: handlers
must be idempotent per event id.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import cast

from aiohttp import web

from emulators.functions_host import trace_context
from emulators.functions_host.app_functions import AppFunctions
from emulators.functions_host.app_model import Failure, TextData
from emulators.functions_host.invoker import Invoker


async def receive(
    functions: AppFunctions,
    invoker: Invoker,
    method: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    body: bytes,
) -> web.Response:
    """Answer one request to `/runtime/webhooks/eventgrid` (header names in lower case)."""
    name = query.get("functionName", "")
    function = functions.named(name)
    if function is None or function.trigger_type != "eventGridTrigger":
        return web.Response(status=404, text=f"cannot find function: '{name}'")
    if method == "OPTIONS":
        return web.Response(headers={"Webhook-Allowed-Origin": headers.get("webhook-request-origin", "*")})
    kind = headers.get("aeg-event-type", "").casefold()
    if kind == "unsubscribe":
        return web.Response(status=202)
    if kind not in ("subscriptionvalidation", "notification"):
        return web.Response(status=400)
    try:
        events = _events(body)
        if kind == "subscriptionvalidation":
            return web.json_response({"validationResponse": _validation_code(events)})
    except (ValueError, LookupError, TypeError) as error:
        return web.Response(status=400, text=f"not an Event Grid payload: {error}")
    trace = trace_context.from_headers(headers) or trace_context.begin()
    outcomes = await asyncio.gather(
        *(
            invoker.run(
                function, {function.trigger_name: TextData(kind="json", text=json.dumps(event))}, trace
            )
            for event in events
        )
    )
    failed = any(isinstance(outcome, Failure) for outcome in outcomes)
    return web.Response(status=500 if failed else 202)


def _events(body: bytes) -> Sequence[Mapping[str, object]]:
    content = json.loads(body)
    events = cast("Sequence[object]", content) if isinstance(content, list) else [cast("object", content)]
    if not all(isinstance(event, dict) for event in events):
        raise ValueError("every event must be a JSON object")
    return cast("Sequence[Mapping[str, object]]", events)


def _validation_code(events: Sequence[Mapping[str, object]]) -> str:
    data = events[0]["data"]
    if isinstance(data, str):
        data = json.loads(data)
    return str(cast("Mapping[str, object]", data)["validationCode"])
