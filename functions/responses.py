"""Successful answers, and sessions as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import azure.functions as func

if TYPE_CHECKING:
    import msgspec

    from functions.bodies import SessionView
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
