"""Successful answers, and sessions as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

import azure.functions as func

if TYPE_CHECKING:
    import msgspec

    from functions.bodies import CallView, SessionView
    from shared.session.log import LoggedEntry
    from shared.session.model import Session

# Answers hold credentials, transcripts or states that change: no cache on the way may keep them.
_HEADERS = {"Cache-Control": "no-store"}


def json_answer(
    body: msgspec.Struct, *, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """Return `body` as JSON."""
    import msgspec

    return func.HttpResponse(
        msgspec.json.encode(body),
        status_code=int(status),
        headers={**_HEADERS, **(headers or {})},
        mimetype="application/json",
    )


def sdp_answer(sdp: str, *, headers: Mapping[str, str]) -> func.HttpResponse:
    """Return an SDP answer: 201, as the provider would."""
    return func.HttpResponse(
        sdp.encode(),
        status_code=int(HTTPStatus.CREATED),
        headers={**_HEADERS, **headers},
        mimetype="application/sdp",
    )


def nothing() -> func.HttpResponse:
    """Return 204."""
    return func.HttpResponse(status_code=int(HTTPStatus.NO_CONTENT), headers=_HEADERS)


def session_view(session: Session) -> SessionView:
    """Return `session` as it is shown: no principal, no prompt variables, no worker."""
    from functions.bodies import SessionView, UsageView

    usage = session.usage
    return SessionView(
        session_id=session.session_id,
        state=session.state.value,
        transport=session.transport.value,
        agent=session.agent,
        agent_version=session.agent_version,
        current_agent=session.current_agent,
        facts=sorted(session.standing.facts) if session.standing else [],
        created_at=iso_time(session.created_at_ms),
        connected_at=iso_time(session.connected_at_ms) if session.connected_at_ms else None,
        ended_at=iso_time(session.ended_at_ms) if session.ended_at_ms else None,
        end_reason=session.end_reason or None,
        duration_s=duration_s(session),
        max_duration_s=session.max_duration_s,
        provider=session.provider or None,
        call_id=session.call_id or None,
        attached=bool(session.owner) and session.live,
        usage=UsageView(
            responses=usage.responses,
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
            cost=usage.cost_micros / 1e6,
        ),
        summary=session.summary or None,
    )


def call_view(session: Session, entries: Iterable[LoggedEntry]) -> CallView:
    """Return the phone call of `session`, with what its log tells of it."""
    from functions.bodies import CallEventView, CallView
    from shared.session.log import CallEvent

    events = [logged.entry for logged in entries if isinstance(logged.entry, CallEvent)]
    # Where the carrier does not say when it was answered, an attached agent does.
    answered_at_ms = session.answered_at_ms or session.connected_at_ms
    return CallView(
        session_id=session.session_id,
        direction=_direction(session),
        status="ended" if not session.live else "connected" if answered_at_ms else "ringing",
        outcome=_outcome(session, answered=bool(answered_at_ms)),
        agent=session.agent,
        transport=session.transport.value,
        call_id=session.call_id or None,
        created_at=iso_time(session.created_at_ms),
        answered_at=iso_time(answered_at_ms) if answered_at_ms else None,
        ended_at=iso_time(session.ended_at_ms) if session.ended_at_ms else None,
        end_reason=session.end_reason or None,
        duration_s=duration_s(session),
        events=[
            CallEventView(
                event=event.event.value,
                operation_id=event.operation_id or None,
                detail=event.detail or None,
                code=event.code,
                sub_code=event.sub_code,
                at=iso_time(event.at_ms),
            )
            for event in events
        ],
    )


def _direction(session: Session) -> Literal["inbound", "outbound"] | None:
    from shared.session.model import Direction

    match session.direction:
        case Direction.INBOUND:
            return "inbound"
        case Direction.OUTBOUND:
            return "outbound"
        case _:
            return None


def _outcome(session: Session, *, answered: bool) -> str | None:
    from shared.session.model import EndReason

    if session.live:
        return None
    told = {
        EndReason.TRANSFERRED,
        EndReason.ANSWERING_MACHINE,
        EndReason.NO_ANSWER,
        EndReason.BUSY,
        EndReason.DECLINED,
        EndReason.UNREACHABLE,
    }
    if session.end_reason in told:
        return session.end_reason
    if answered:
        return "answered"
    cancelled = {EndReason.OPERATOR_ENDED, EndReason.CLIENT_ENDED, EndReason.CALLER_HUNG_UP}
    return "cancelled" if session.end_reason in cancelled else "failed"


def duration_s(session: Session) -> float | None:
    """Return how long the call lasted, in seconds; None while it lasts, 0 when it never connected."""
    if not session.ended_at_ms:
        return None
    if not session.connected_at_ms:
        return 0.0
    return max(0, session.ended_at_ms - session.connected_at_ms) / 1000


def iso_time(at_ms: int) -> str:
    """Return Unix milliseconds as ISO 8601 in UTC, with milliseconds and a Z."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
