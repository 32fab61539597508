"""Recordings of calls: begun when the session's worker asks for it, ended with the session.

What the carrier keeps of a call, and for how long, is its own; here is who asked for it, and when. The log
has every step: asked for, started under which id, failed why, stopped.
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
from shared.errors import NotFoundError, SidetoneError, UnavailableError

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from shared.session.log import CallEvent, CallEventKind
    from shared.session.model import Session

blueprint = df.Blueprint()

# Names the one recording of a session to the carrier, which so knows the request when it comes again.
_OPERATION = "recording"


@endpoint(blueprint, routes.START_RECORDING)
async def start_recording(call: Call) -> func.HttpResponse:
    """Have the session's call recorded, once. What no retry mends is logged, and the call goes on."""
    from functions.bodies import Accepted
    from shared.session.jobs import StartRecording

    message_of(call, StartRecording)
    needs = call.dependencies
    session = await needs.sessions.get(call.session_id)
    return json_answer(Accepted(changed=await _begin(needs, session)), status=HTTPStatus.ACCEPTED)


async def _begin(needs: Dependencies, session: Session) -> bool:
    from functions.carriers import leg_of
    from shared.session.log import CallEventKind as Kind

    recording = (await needs.agents()).get(session.agent).recording
    if recording is None or not session.live or await _started(needs, session.session_id):
        return False
    if not session.call_id:
        raise UnavailableError("call_not_established", "The call is not up (yet).", retry_after_s=1.0)
    try:
        recording_id = await leg_of(needs, session).start_recording(_OPERATION, recording)
    except SidetoneError as error:
        if error.retryable:
            raise  # the worker sends its message again
        await _note(needs, session, Kind.RECORDING_FAILED, detail=error.code)
        return False
    await _note(needs, session, Kind.RECORDING_STARTED, recording_id=recording_id)
    return True


async def stop_recording(needs: Dependencies, session: Session) -> None:
    """End the session's recording if it has one. It ends with the call at the latest: a failure is logged."""
    from functions.carriers import leg_of
    from shared.session.log import CallEventKind as Kind
    from shared.telemetry.logs import get_logger

    started = await _started(needs, session.session_id)
    if started is None:
        return
    try:
        await leg_of(needs, session).stop_recording(started.operation_id)
    except SidetoneError as error:
        get_logger("functions.calls").warning("recording_not_stopped", extra={"code": error.code})
        return
    await _note(needs, session, Kind.RECORDING_STOPPED, recording_id=started.operation_id)


async def _started(needs: Dependencies, session_id: str) -> CallEvent | None:
    from shared.session.log import CallEvent, CallEventKind

    entries = [logged.entry for logged in await needs.log.read_all(session_id)]
    begun = (one for one in entries if isinstance(one, CallEvent))
    return next((one for one in begun if one.event is CallEventKind.RECORDING_STARTED), None)


async def _note(
    needs: Dependencies, session: Session, kind: CallEventKind, *, recording_id: str = "", detail: str = ""
) -> None:
    from functions.session_start import now_ms
    from shared.session.log import CallEvent
    from shared.telemetry.logs import get_logger

    entry = CallEvent(event=kind, operation_id=recording_id, detail=detail, at_ms=now_ms())
    try:
        await needs.log.append(session.session_id, [entry], dedupe=kind.value)
    except NotFoundError:  # erased meanwhile
        return
    get_logger("functions.calls").info("call_recording", extra={"step": kind.value, "code": detail})
