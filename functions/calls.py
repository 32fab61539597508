"""Calls: the SDP exchange, and what a caller's client does to its own call."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import azure.durable_functions as df
import azure.functions as func

from functions.endpoint import Call, durable_endpoint, endpoint
from functions.orchestrations import Orchestrations
from functions.requests import json_body, required_text, sdp_offer
from functions.responses import json_answer, sdp_answer, session_view
from functions.routes import browser_calls as routes
from functions.session_end import end_session
from functions.session_start import started_session
from shared.errors import ConflictError, SidetoneError, UnavailableError
from shared.ids import parse_call_id

if TYPE_CHECKING:
    from functions.dependencies import Dependencies

blueprint = df.Blueprint()

# How often the record is read while a worker attaches: far below what a caller notices.
_LOOK_EVERY_S = 0.05


@durable_endpoint(blueprint, routes.CREATE_SESSION)
async def create_session(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Do the SDP exchange for the client, and answer once a worker holds the sideband."""
    needs = call.dependencies
    settings = needs.settings
    await needs.limits.check_rate(call.caller.principal, "start", settings.token_rate_per_minute)
    offer = sdp_offer(call.request)
    async with started_session(
        call,
        orchestrations,
        agent_name=required_text(call.request, "agent", longest=64),
        variables={},
        connect_within_s=settings.connect_timeout_s,
    ) as started:
        session_id = started.session.session_id
        created = await needs.provider.create_call(offer, started.provider_session)
        try:
            await needs.sessions.report_call(session_id, created.call_id, needs.provider.name)
            await needs.attach_queue.enqueue(session_id, call.traceparent)
            await _attached(needs, session_id)
        except BaseException:
            await _hang_up_quietly(needs, created.call_id)
            raise
        return sdp_answer(
            created.sdp_answer,
            headers={
                "Location": f"/api/v1/sessions/{session_id}",
                "x-sidetone-client-token": needs.tokens.issue_client_token(
                    session_id, settings.client_token_ttl_s
                ),
            },
        )


@endpoint(blueprint, routes.REPORT_CALL)
async def report_call(call: Call) -> func.HttpResponse:
    """Take the call id from the client and have a worker attach. Reporting it again is harmless."""
    from functions.bodies import CallReport
    from shared.session.model import SessionState
    from shared.telemetry import names
    from shared.telemetry.trace_context import span

    needs = call.dependencies
    call_id = parse_call_id(json_body(call.request, CallReport).call_id)
    session = await needs.sessions.report_call(call.session_id, call_id, needs.provider.name)
    # The client's request begins a trace of its own; the session goes on in the one that began it.
    with span(
        names.SPAN_CALL_REGISTER, parent=session.traceparent, attributes={names.CALL_ID: call_id}
    ) as step:
        if session.state is SessionState.CONNECTING:
            await needs.attach_queue.enqueue(call.session_id, step.traceparent)
    return json_answer(session_view(session), status=HTTPStatus.ACCEPTED)


@durable_endpoint(blueprint, routes.HANG_UP)
async def hang_up(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """End the call for its own client."""
    from shared.session.model import EndReason

    session = await call.dependencies.sessions.get(call.session_id)
    session = await end_session(call, orchestrations, session, reason=EndReason.CLIENT_ENDED)
    return json_answer(session_view(session), status=HTTPStatus.ACCEPTED)


async def _attached(needs: Dependencies, session_id: str) -> None:
    """Return once a worker has attached to the session; raise 503 or 409 when that does not happen."""
    from shared.session.model import SessionState

    wait_s = needs.settings.attach_wait_s
    try:
        async with asyncio.timeout(wait_s):
            while (session := await needs.sessions.get(session_id)).live:
                if session.state is SessionState.ACTIVE:
                    return
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError:
        raise UnavailableError(
            "no_worker_attached",
            f"No worker attached to the call within {wait_s:g} s, so it was ended: try again, or add "
            "workers.",
            retry_after_s=wait_s,
        ) from None
    raise ConflictError("session_ended", f"The session ended while it connected: {session.end_reason}.")


async def _hang_up_quietly(needs: Dependencies, call_id: str) -> None:
    """Hang up on the way out of a failure, which is what the caller of the API must hear about."""
    from shared.telemetry.logs import get_logger

    try:
        await needs.provider.hang_up(call_id)
    except SidetoneError as error:
        get_logger("functions.calls").warning("call_not_hung_up", extra={"code": error.code})
