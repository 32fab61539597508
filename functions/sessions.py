"""Sessions: list, read, follow, end, erase."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import azure.durable_functions as df
import azure.functions as func

from functions.authorisation import check_may_see, check_operator
from functions.carriers import hang_up
from functions.endpoint import Call, durable_endpoint, endpoint
from functions.orchestrations import Orchestrations
from functions.requests import json_body, stream_id, whole_number
from functions.responses import iso_time, json_answer, nothing, session_view
from functions.routes import sessions as routes
from functions.session_end import end_session
from functions.session_start import now_ms
from shared.errors import InvalidRequestError

if TYPE_CHECKING:
    from functions.bodies import TranscriptView
    from shared.session.log import LoggedEntry
    from shared.session.model import Session, SessionState

blueprint = df.Blueprint()

_LONGEST_CURSOR = 200
_LOOK_EVERY_S = 0.1


@endpoint(blueprint, routes.LIST_SESSIONS)
async def list_sessions(call: Call) -> func.HttpResponse:
    """Return a page of sessions, newest first."""
    from functions.bodies import SessionList

    check_operator(call.caller)
    limit = whole_number(call.request, "limit", default=50, least=1, most=100)
    cursor = call.request.params.get("cursor", "")
    if len(cursor) > _LONGEST_CURSOR:
        raise InvalidRequestError("invalid_query", "cursor must be `next` of an earlier page.")
    page = await call.dependencies.sessions.page(limit, cursor, _state(call))
    views = [session_view(session) for session in page.sessions]
    return json_answer(SessionList(sessions=views, next=page.next_cursor or None))


@endpoint(blueprint, routes.READ_SESSION)
async def read_session(call: Call) -> func.HttpResponse:
    """Return one session."""
    return json_answer(session_view(await _visible(call)))


@endpoint(blueprint, routes.READ_EVENTS)
async def read_events(call: Call) -> func.HttpResponse:
    """Return a page of the event log, waiting for the first entry if asked to."""
    from functions.bodies import EventPage
    from shared.session.model import SessionState

    after = stream_id(call.request, "after")
    limit = whole_number(call.request, "limit", default=100, least=1, most=500)
    wait_s = whole_number(call.request, "wait_s", default=0, least=0, most=20)
    session = await _visible(call)
    log, sessions = call.dependencies.log, call.dependencies.sessions
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        # The state is read before the log: if it says archived, the log that follows is complete.
        complete = session.state is SessionState.ARCHIVED
        entries = await log.read(call.session_id, after, limit)
        if entries or complete or asyncio.get_running_loop().time() >= deadline:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
        session = await sessions.get(call.session_id)
    last = entries[-1].entry_id if entries else after
    finished = complete and len(entries) < limit
    return json_answer(
        EventPage(events=[_event(entry) for entry in entries], next=None if finished else last)
    )


@endpoint(blueprint, routes.READ_TRANSCRIPT)
async def read_transcript(call: Call) -> func.HttpResponse:
    """Return the conversation in the order it was spoken."""
    session = await _visible(call)
    return json_answer(transcript_view(session, await call.dependencies.log.read_all(call.session_id)))


@durable_endpoint(blueprint, routes.END_SESSION)
async def end(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """End a session's call; harmless when it is over."""
    from functions.bodies import EndRequest
    from shared.session.model import EndReason

    asked = json_body(call.request, EndRequest) if call.request.get_body() else EndRequest()
    session = await end_session(
        call, orchestrations, await _visible(call), reason=EndReason(asked.reason), goodbye=asked.goodbye
    )
    return json_answer(session_view(session), status=HTTPStatus.ACCEPTED)


@durable_endpoint(blueprint, routes.ERASE_SESSION)
async def erase(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Hang up, stop the orchestrations, and erase their histories and all keys of the session.

    Every step can be repeated, and the record goes last: a request that fails midway is sent again.
    """
    from shared.session.model import EndReason
    from shared.store.approvals import approvals_in

    needs = call.dependencies
    session = await _visible(call)
    if session.live:
        await hang_up(needs, session)
        await needs.sessions.mark_ended(call.session_id, EndReason.OPERATOR_ENDED, now_ms())
    await orchestrations.erase(call.session_id)
    await needs.limits.release_live(session.principal, call.session_id)
    await needs.approvals.erase(approvals_in(await needs.log.read_all(call.session_id)))
    await needs.sessions.erase(call.session_id)
    return nothing()


async def _visible(call: Call) -> Session:
    session = await call.dependencies.sessions.get(call.session_id)
    check_may_see(call.caller, session)
    return session


def _state(call: Call) -> SessionState | None:
    from shared.session.model import SessionState

    given = call.request.params.get("state")
    if given is None:
        return None
    try:
        return SessionState(given)
    except ValueError:
        raise InvalidRequestError(
            "invalid_query", f"state must be one of {', '.join(SessionState)}."
        ) from None


def _event(logged: LoggedEntry) -> dict[str, object]:
    import msgspec

    from shared.session.codec import LOG
    from shared.session.redacted import redacted

    return {
        "id": logged.entry_id,
        "epoch": logged.epoch,
        "type": LOG.tag(logged.entry),
        **msgspec.to_builtins(redacted(logged.entry)),
    }


def transcript_view(session: Session, entries: list[LoggedEntry]) -> TranscriptView:
    """Return a session's log as a transcript."""
    from functions.bodies import ToolCallView, TranscriptView, TurnView
    from functions.transcript import assemble
    from shared.session.model import SessionState

    transcript = assemble(entries)
    return TranscriptView(
        session_id=session.session_id,
        final=session.state is SessionState.ARCHIVED,
        turns=[
            TurnView(
                speaker=turn.speaker,
                agent=turn.agent or None,
                text=turn.text,
                status=turn.status.value,
                spoken_at=iso_time(turn.spoken_at_ms),
                first_audio_ms=turn.first_audio_ms if turn.first_audio_ms >= 0 else None,
            )
            for turn in transcript.turns
        ],
        tools=[
            ToolCallView(
                tool_call_id=tool.called.tool_call_id,
                name=tool.called.name,
                execution=tool.called.execution.value,
                arguments=tool.called.arguments,
                status=tool.finished.status.value if tool.finished else None,
                output=tool.finished.output if tool.finished else None,
                duration_ms=tool.finished.duration_ms if tool.finished else None,
                called_at=iso_time(tool.called.at_ms),
            )
            for tool in transcript.tools
        ],
        summary=session.summary or None,
    )
