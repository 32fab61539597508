"""The orchestration `session_lifecycle`: connecting, active, ended, archived. Its id is the session's.

The record in Redis is the truth; events and timers only say when to look. So an event that
comes early, twice, late or never changes nothing but the time at which things happen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import azure.durable_functions as df

from functions.durable import Payload, activity, as_object, number, orchestrator, text
from functions.orchestrations import ATTACHED, ENDED, SESSION_LIFECYCLE
from shared.errors import NotFoundError

if TYPE_CHECKING:
    from azure.durable_functions.models.Task import TaskBase, TimerTask

    from functions.dependencies import Dependencies
    from shared.session.model import EndReason

blueprint = df.Blueprint()

MARK_ENDED = "mark_session_ended"
ASK_TO_END = "ask_session_to_end"
HANG_UP = "hang_up_call"
SUMMARISE = "summarise_session"
ARCHIVE = "archive_session"

_SPAN = "session_lifecycle"
# A session that reached its maximum duration may finish its goodbye for this long.
GOODBYE_S = 20.0
GOODBYE = "We have reached the longest time a call can last. Thank you for calling, and goodbye."
# Redis may be gone for some minutes; the books are closed when it is back.
_RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=5_000, max_number_of_attempts=40)
_HANG_UP_RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=2_000, max_number_of_attempts=10)


@orchestrator(blueprint, SESSION_LIFECYCLE)
def session_lifecycle(
    context: df.DurableOrchestrationContext,
) -> Generator[TaskBase, object, dict[str, object]]:
    """Input: session_id, connect_within_s, max_duration_s, traceparent. Output: session_id, reason."""
    start = as_object(context.get_input())
    subject: dict[str, object] = {
        "session_id": text(start, "session_id"),
        "traceparent": text(start, "traceparent"),
    }
    # Both waits exist before anything else is awaited, so that no event can come too early.
    attached = context.wait_for_external_event(ATTACHED)
    ended = context.wait_for_external_event(ENDED)

    context.set_custom_status({"state": "connecting"})
    connect_by = _timer(context, number(start, "connect_within_s"))
    first = yield context.task_any([attached, ended, connect_by])
    is_active = first is attached
    if first is not connect_by:
        connect_by.cancel()
    else:
        state = yield context.call_activity_with_retry(
            MARK_ENDED, _RETRY, {**subject, "reason": "never_connected", "unless_active": True}
        )
        is_active = text(as_object(state), "state") == "active"  # attached, but the event was late

    if is_active:
        context.set_custom_status({"state": "active"})
        end_by = _timer(context, number(start, "max_duration_s"))
        first = yield context.task_any([ended, end_by])
        if first is ended:
            end_by.cancel()
        else:
            yield context.call_activity_with_retry(ASK_TO_END, _RETRY, subject)
            force_by = _timer(context, GOODBYE_S)
            first = yield context.task_any([ended, force_by])
            if first is ended:
                force_by.cancel()
            else:
                yield context.call_activity_with_retry(
                    MARK_ENDED, _RETRY, {**subject, "reason": "max_duration", "unless_active": False}
                )

    context.set_custom_status({"state": "ended"})
    reason = text(as_object(ended.result), "reason") if ended.is_completed else ""
    # A leg that cannot be reached must not keep the books open; the activity has logged it.
    with contextlib.suppress(Exception):
        yield context.call_activity_with_retry(HANG_UP, _HANG_UP_RETRY, {**subject, "reason": reason})
    summary = yield context.call_activity_with_retry(SUMMARISE, _RETRY, {**subject, "reason": reason})
    outcome = yield context.call_activity_with_retry(
        ARCHIVE, _RETRY, {**subject, "reason": reason, "summary": text(as_object(summary), "summary")}
    )
    context.set_custom_status({"state": "archived"})
    return {"session_id": subject["session_id"], "reason": text(as_object(outcome), "reason")}


def _timer(context: df.DurableOrchestrationContext, after_s: float) -> TimerTask:
    timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=after_s))
    return cast("TimerTask", timer)


@activity(blueprint, MARK_ENDED, span_name=f"{_SPAN} mark_ended")
async def mark_session_ended(payload: Payload, needs: Dependencies) -> Payload:
    """End the session's record, fencing its owner; with `unless_active`, only if no worker attached."""
    from functions.session_start import now_ms
    from shared.session.model import Direction, EndReason, SessionState

    session_id = text(payload, "session_id")
    try:
        session = await needs.sessions.get(session_id)
        if session.state is SessionState.ACTIVE and payload.get("unless_active"):
            return {"state": session.state.value}
        reason = EndReason(text(payload, "reason"))
        unanswered = session.direction == Direction.OUTBOUND and not session.answered_at_ms
        if reason is EndReason.NEVER_CONNECTED and unanswered:
            reason = EndReason.NO_ANSWER
        await needs.sessions.mark_ended(session_id, reason, now_ms())
        return {"state": (await needs.sessions.get(session_id)).state.value}
    except NotFoundError:
        return {"state": "gone"}


@activity(blueprint, ASK_TO_END, span_name=f"{_SPAN} ask_to_end")
async def ask_session_to_end(payload: Payload, needs: Dependencies) -> Payload:
    """Tell the owner that the maximum duration is reached; it says goodbye and hangs up."""
    from shared.session.commands import EndCall
    from shared.session.model import EndReason

    command = EndCall(reason=EndReason.MAX_DURATION.value, goodbye=GOODBYE)
    try:
        await needs.inbox.put(
            text(payload, "session_id"),
            command,
            dedupe="max_duration",
            traceparent=text(payload, "traceparent"),
        )
    except NotFoundError:
        return {"asked": False}
    return {"asked": True}


@activity(blueprint, HANG_UP, span_name=f"{_SPAN} hang_up")
async def hang_up_call(payload: Payload, needs: Dependencies) -> Payload:
    """Make sure that the carrier's leg is gone, whoever was meant to end it."""
    from functions.carriers import hang_up
    from functions.recordings import stop_recording
    from shared.session.model import EndReason

    try:
        session = await needs.sessions.get(text(payload, "session_id"))
    except NotFoundError:
        return {"hung_up": False}
    await stop_recording(needs, session)  # also of a caller who now talks to somebody else
    reason = session.end_reason or text(payload, "reason")
    # Of a call whose media pass through us, the socket's end alone does not prove that it is over. One that
    # was transferred lives on between others.
    gone = reason == EndReason.CALLER_HUNG_UP and not session.transport.carries_media
    if gone or reason == EndReason.TRANSFERRED:
        return {"hung_up": False}
    return {"hung_up": await hang_up(needs, session)}


@activity(blueprint, SUMMARISE, span_name=f"{_SPAN} summarise")
async def summarise_session(payload: Payload, needs: Dependencies) -> Payload:
    """Summarise the conversation. Other ways to summarise, as by a model, take the place of `summarise`."""
    from functions.responses import duration_s
    from functions.transcript import assemble, summarise

    session_id = text(payload, "session_id")
    try:
        session = await needs.sessions.get(session_id)
    except NotFoundError:
        return {"summary": ""}
    transcript = assemble(await needs.log.read_all(session_id))
    summary = summarise(
        transcript,
        end_reason=session.end_reason or text(payload, "reason"),
        duration_s=duration_s(session) or 0.0,
    )
    return {"summary": summary}


@activity(blueprint, ARCHIVE, span_name=f"{_SPAN} archive")
async def archive_session(payload: Payload, needs: Dependencies) -> Payload:
    """Close the books: the record is ended and archived, the caller's place in the limits is free."""
    from functions.responses import duration_s
    from functions.session_start import now_ms
    from functions.transcript import assemble
    from functions.unread_results import record_unread
    from shared.session.log import Archived

    session_id = text(payload, "session_id")
    try:
        session = await needs.sessions.get(session_id)
        if session.live:  # told that it ended before the record said so
            await needs.sessions.mark_ended(session_id, _end_reason(payload), now_ms())
            session = await needs.sessions.get(session_id)
        entries = await needs.log.read_all(session_id)
        if await record_unread(needs, session, entries):
            entries = await needs.log.read_all(session_id)
        transcript = assemble(entries)
        archived = Archived(
            turns=len(transcript.turns),
            tools=len(transcript.tools),
            duration_s=duration_s(session) or 0.0,
            summary=text(payload, "summary"),
            at_ms=now_ms(),
        )
        await needs.sessions.archive(session_id, archived)
    except NotFoundError:
        return {"reason": "erased"}
    await needs.limits.release_live(session.principal, session_id)
    return {"reason": session.end_reason}


def _end_reason(payload: Payload) -> EndReason:
    from shared.session.model import EndReason

    try:
        return EndReason(text(payload, "reason"))
    except ValueError:
        return EndReason.INTERNAL_ERROR
