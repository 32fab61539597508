"""Recordings of calls: begun, paused and resumed as the session's log says, ended with the session.

What the carrier keeps of a call, and for how long, is its own; here is who asked for it, and when. The log
has every step: wanted by whom, started under which id, paused, resumed, failed why, stopped. Workers log what
is wanted before they say that it changed; so whoever adjusts a recording reads what is wanted by now, and
messages may come twice, late, and in another order.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import azure.durable_functions as df
import azure.functions as func

from functions.endpoint import Call, endpoint
from functions.internal import message_of
from functions.responses import json_answer
from functions.routes import internal as routes
from shared.errors import SidetoneError, UnavailableError

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from shared.session.call_recording import CallRecording
    from shared.session.log import CallEventKind
    from shared.session.model import Session

blueprint = df.Blueprint()

# Names a recording to the carrier, which so knows the request when it comes again.
_OPERATION = "recording"
# One at a time adjusts a session's recording, in this many steps at most.
_LOCK = "recording"
_BUSY = "recording_busy"
_STEPS = 10


@endpoint(blueprint, routes.ADJUST_RECORDING)
async def adjust_recording(call: Call) -> func.HttpResponse:
    """Have the session's call recorded, or not, as its log says. What no retry mends is logged, and the call
    goes on."""
    from functions.bodies import Accepted
    from shared.session.jobs import AdjustRecording

    message_of(call, AdjustRecording)
    changed = await _adjust(call.dependencies, call.session_id)
    return json_answer(Accepted(changed=changed), status=HTTPStatus.ACCEPTED)


async def stop_recording(needs: Dependencies, session: Session) -> None:
    """End the recording of a session that is over, if it has one. It ends with the call at the latest, so a
    failure is logged. Raises `recording_busy`."""
    from shared.telemetry.logs import get_logger

    try:
        if (await _recording(needs, session.session_id)).wishes:
            await _adjust(needs, session.session_id, over=True)
    except SidetoneError as error:
        if error.code == _BUSY:
            raise
        get_logger("functions.calls").warning("recording_not_stopped", extra={"code": error.code})


async def _adjust(needs: Dependencies, session_id: str, *, over: bool = False) -> bool:
    """Bring the recording to what the log wants, which may change meanwhile; return whether it changed.

    over: the session is, though its record may not say so yet. Raises UnavailableError while somebody else is
    at it, or while the carrier fails.
    """
    from shared.store.deliveries import Claimed, Deliveries

    lock = Deliveries(needs.redis)
    claim = await lock.claim(_LOCK, session_id)
    if not isinstance(claim, Claimed):
        raise UnavailableError(_BUSY, "Somebody else adjusts this recording.", retry_after_s=0.5)
    try:
        for step in range(_STEPS):
            session = await needs.sessions.get(session_id)
            recording = await _recording(needs, session_id)
            if not await _step(needs, session, recording, live=session.live and not over):
                return step > 0
        return True
    finally:
        await lock.release(_LOCK, session_id, claim)


async def _recording(needs: Dependencies, session_id: str) -> CallRecording:
    from shared.session.call_recording import call_recording

    return call_recording(logged.entry for logged in await needs.log.read_all(session_id))


async def _step(needs: Dependencies, session: Session, recording: CallRecording, *, live: bool) -> bool:
    """Do the next thing that is to be done, and log it; return whether there was one."""
    from functions.carriers import leg_of
    from shared.session.log import CallEventKind as Kind

    running = recording.recording_id
    if not running:
        if not live or not recording.wanted or recording.failed:
            return False
        return await _start(needs, session, recording)
    leg = leg_of(needs, session)
    unwanted = not recording.wanted and not recording.paused
    if not live or (unwanted and recording.failed):  # what can't be paused must end
        await leg.stop_recording(running)
        await _note(needs, session, Kind.RECORDING_STOPPED, recording_id=running)
        return True
    if recording.failed or recording.wanted != recording.paused:
        return False
    try:
        if recording.wanted:
            found, done = await leg.resume_recording(running), Kind.RECORDING_RESUMED
        else:
            found, done = await leg.pause_recording(running), Kind.RECORDING_PAUSED
    except SidetoneError as error:
        if error.retryable:
            raise  # the worker sends its message again
        await _note(needs, session, Kind.RECORDING_FAILED, detail=error.code)
        return True
    await _note(needs, session, done if found else Kind.RECORDING_STOPPED, recording_id=running)
    return True


async def _start(needs: Dependencies, session: Session, recording: CallRecording) -> bool:
    from functions.carriers import leg_of
    from shared.session.log import CallEventKind as Kind

    how = (await needs.agents()).get(recording.wanted_by or session.agent).recording
    if how is None:
        return False
    if not session.call_id:
        raise UnavailableError("call_not_established", "The call is not up (yet).", retry_after_s=1.0)
    operation = f"{_OPERATION}_{recording.starts + 1}" if recording.starts else _OPERATION
    try:
        recording_id = await leg_of(needs, session).start_recording(operation, how)
    except SidetoneError as error:
        if error.retryable:
            raise
        await _note(needs, session, Kind.RECORDING_FAILED, detail=error.code)
    else:
        await _note(needs, session, Kind.RECORDING_STARTED, recording_id=recording_id)
    return True


async def _note(
    needs: Dependencies, session: Session, kind: CallEventKind, *, recording_id: str = "", detail: str = ""
) -> None:
    from functions.session_start import now_ms
    from shared.session.log import CallEvent
    from shared.telemetry.logs import get_logger

    entry = CallEvent(event=kind, operation_id=recording_id, detail=detail, at_ms=now_ms())
    await needs.log.append(session.session_id, [entry])
    get_logger("functions.calls").info("call_recording", extra={"step": kind.value, "code": detail})
