"""Phone calls: place one, look at it, and do something to it. A call is named by its session's id."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

import azure.durable_functions as df
import azure.functions as func

from functions.authorisation import check_may_see, check_operator
from functions.call_control import ask_carrier
from functions.endpoint import Call, durable_endpoint, endpoint
from functions.orchestrations import TRANSFER_CALL, Orchestrations
from functions.outbound_calls import OutboundCall, place_call
from functions.requests import json_body
from functions.responses import call_view, json_answer, session_view
from functions.routes import phone_calls as routes
from functions.session_end import end_session
from shared.errors import ConflictError, InvalidRequestError

if TYPE_CHECKING:
    from shared.session.log import CallEventKind
    from shared.session.model import Session
    from shared.telephony.legs import CarrierLeg
    from shared.telephony.outbound import Target

blueprint = df.Blueprint()

_LONGEST_KEY = 128


@durable_endpoint(blueprint, routes.PLACE_CALL)
async def place(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Call somebody, and let an agent talk to them."""
    from functions.bodies import PlaceCall
    from shared.telephony.outbound import parse_target

    check_operator(call.caller)
    needs = call.dependencies
    asked = json_body(call.request, PlaceCall)
    await needs.limits.check_rate(call.caller.principal, "calls", needs.settings.outbound_calls_per_minute)
    outbound = OutboundCall(
        target=parse_target(asked.to),
        agent=asked.agent,
        variables=asked.variables,
        caller_id=asked.caller_id,
        ring_s=asked.ring_s,
        principal=call.caller.principal,
        traceparent=call.traceparent,
        key=_idempotency_key(call.request),
    )
    session = await place_call(needs, orchestrations, outbound)
    view = call_view(session, await needs.log.read_all(session.session_id))
    location = {"Location": f"/api/v1/calls/{session.session_id}"}
    return json_answer(view, status=HTTPStatus.ACCEPTED, headers=location)


@endpoint(blueprint, routes.READ_CALL)
async def read(call: Call) -> func.HttpResponse:
    """Return how a call is, or how it came out."""
    session = await call.dependencies.sessions.get(call.session_id)
    check_may_see(call.caller, session)
    return json_answer(call_view(session, await call.dependencies.log.read_all(call.session_id)))


@durable_endpoint(blueprint, routes.HANG_UP_CALL)
async def hang_up(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """End a call; harmless when it is over."""
    from functions.bodies import HangUpRequest
    from shared.session.model import EndReason

    check_operator(call.caller)
    asked = json_body(call.request, HangUpRequest) if call.request.get_body() else HangUpRequest()
    session = await call.dependencies.sessions.get(call.session_id)
    session = await end_session(
        call, orchestrations, session, reason=EndReason(asked.reason), goodbye=asked.goodbye
    )
    return json_answer(session_view(session), status=HTTPStatus.ACCEPTED)


@durable_endpoint(blueprint, routes.TRANSFER)
async def transfer(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Hand the caller over to somebody else, after an announcement if there is one."""
    from functions.bodies import TransferRequest
    from shared.session.log import CallEventKind

    check_operator(call.caller)
    asked = json_body(call.request, TransferRequest)
    target = await _allowed(call, asked.target)

    async def hand_over(session: Session, operation_id: str) -> None:
        if not asked.announcement:
            await ask_carrier(
                call.dependencies,
                session,
                lambda leg: leg.transfer(target, operation_id),
                CallEventKind.TRANSFER_ASKED,
                CallEventKind.TRANSFER_FAILED,
                operation_id,
            )
            return
        _check_talking(session)
        payload: dict[str, object] = {
            "session_id": session.session_id,
            "operation_id": operation_id,
            "target": target.address,
            "announcement": asked.announcement,
            "traceparent": call.traceparent,
        }
        await orchestrations.start_once(TRANSFER_CALL, f"{session.session_id}.{operation_id}", payload)

    return await _operation(call, "transfer", hand_over)


@endpoint(blueprint, routes.ADD_PARTICIPANT)
async def add_participant(call: Call) -> func.HttpResponse:
    """Call somebody and take them into the call."""
    from functions.bodies import ParticipantRequest
    from shared.session.log import CallEventKind

    check_operator(call.caller)
    asked = json_body(call.request, ParticipantRequest)
    target = await _allowed(call, asked.target)
    return await _asked_of_carrier(
        call,
        "participants",
        lambda leg, operation_id: leg.add_participant(target, operation_id, ring_s=asked.ring_s),
        CallEventKind.PARTICIPANT_ASKED,
        CallEventKind.PARTICIPANT_FAILED,
    )


@endpoint(blueprint, routes.HOLD)
async def hold(call: Call) -> func.HttpResponse:
    """Let the caller wait: they hear and say nothing."""
    from shared.session.log import CallEventKind

    return await _asked_of_carrier(
        call, "hold", lambda leg, _: leg.hold(), CallEventKind.HELD, CallEventKind.HOLD_FAILED
    )


@endpoint(blueprint, routes.RESUME)
async def resume(call: Call) -> func.HttpResponse:
    """End the wait."""
    from shared.session.log import CallEventKind

    return await _asked_of_carrier(
        call, "resume", lambda leg, _: leg.resume(), CallEventKind.RESUMED, CallEventKind.HOLD_FAILED
    )


@endpoint(blueprint, routes.SEND_DIGITS)
async def send_digits(call: Call) -> func.HttpResponse:
    """Press keys, as for a menu at the other end."""
    from functions.bodies import DigitsRequest
    from shared.session.log import CallEventKind

    check_operator(call.caller)
    asked = json_body(call.request, DigitsRequest)
    return await _asked_of_carrier(
        call,
        "dtmf",
        lambda leg, operation_id: leg.send_digits(asked.digits, operation_id),
        CallEventKind.DIGITS_ASKED,
        CallEventKind.DIGITS_FAILED,
    )


async def _asked_of_carrier(
    call: Call,
    name: str,
    request: Callable[[CarrierLeg, str], Awaitable[None]],
    asked: CallEventKind,
    failed: CallEventKind,
) -> func.HttpResponse:
    async def ask(session: Session, operation_id: str) -> None:
        await ask_carrier(
            call.dependencies, session, lambda leg: request(leg, operation_id), asked, failed, operation_id
        )

    return await _operation(call, name, ask)


async def _operation(
    call: Call, name: str, act: Callable[[Session, str], Awaitable[None]]
) -> func.HttpResponse:
    """Act on a call that is up, once for each Idempotency-Key; answer with the operation's id."""
    from functions.bodies import CallOperation

    check_operator(call.caller)
    needs, session_id = call.dependencies, call.session_id
    await needs.limits.check_rate(
        call.caller.principal, "call_control", needs.settings.call_control_per_minute
    )
    session = await needs.sessions.get(session_id)
    key = _idempotency_key(call.request)
    digest = hashlib.sha256(f"{session_id}/{name}/{key}".encode()).hexdigest()[:24]
    operation_id = f"op_{digest}" if key else f"op_{secrets.token_hex(12)}"
    if key:
        async with needs.deliveries.handling(f"calls/{session_id}/{name}", key) as first:
            if first:
                await act(_up(session), operation_id)
    else:
        await act(_up(session), operation_id)
    body = CallOperation(session_id=session_id, operation=name, operation_id=operation_id)
    return json_answer(body, status=HTTPStatus.ACCEPTED)


async def _allowed(call: Call, text: str) -> Target:
    """Return whom `text` names, if the policy lets us call them."""
    from shared.telephony.outbound import parse_target

    target = parse_target(text)
    (await call.dependencies.inbound_policy()).outbound.check(target)
    return target


def _up(session: Session) -> Session:
    """Return a session whose call is up; raise 409."""
    if not session.live:
        raise ConflictError("session_ended", f"{session.session_id} has ended.")
    if not session.call_id:
        raise ConflictError("call_not_established", "The call is not up (yet).")
    return session


def _check_talking(session: Session) -> None:
    from shared.session.model import SessionState

    if session.state is not SessionState.ACTIVE:
        raise ConflictError("call_not_established", "Nobody talks yet who could announce anything.")


def _idempotency_key(request: func.HttpRequest) -> str:
    key = request.headers.get("idempotency-key", "").strip()
    if len(key) > _LONGEST_KEY:
        raise InvalidRequestError(
            "invalid_idempotency_key", f"An Idempotency-Key has at most {_LONGEST_KEY} characters."
        )
    return key
