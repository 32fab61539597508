"""The REST API of Call Automation: paths, statuses and bodies as the SDKs send and expect them.

Source: `_generated/operations/_operations.py` of the public Python SDK 1.6.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from aiohttp import web

from emulators.communication import rest_bodies as bodies
from emulators.communication.authentication import Authentication
from emulators.communication.calls import Call
from emulators.communication.faults import Fault
from emulators.communication.participant_operations import ParticipantOperations
from emulators.communication.service import CommunicationService
from emulators.communication.wire import INVALID_ARGUMENT, NOT_SUPPORTED, RejectedError, answer, invalid, read

_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_REMEMBERED_REPEATS = 5000
_CONNECTIONS = "/calling/callConnections"
_CONNECTION = _CONNECTIONS + "/{id:[^/:]+}"
_PARTICIPANTS = _CONNECTION + "/participants"
_RECORDINGS = "/calling/recordings"
_RECORDING = _RECORDINGS + "/{recording:[^/:]+}"

Operate = Callable[[web.Request], Awaitable[web.Response]]
OnCall = Callable[[web.Request, Call], Awaitable[web.Response]]


class RestRoutes:
    """Handlers of the REST API; each has a name that `http` faults know it by."""

    def __init__(self, service: CommunicationService, authentication: Authentication) -> None:
        self._service = service
        self._media = service.media_operations
        self._people = ParticipantOperations(service)
        self._authentication = authentication
        self._repeats: OrderedDict[tuple[str, str], tuple[int, bytes]] = OrderedDict()
        self.operations: list[str] = []

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        self._add(app, "answer", "POST", _CONNECTIONS + ":answer", self._answer)
        self._add(app, "create", "POST", _CONNECTIONS, self._create)
        self._add(app, "reject", "POST", _CONNECTIONS + ":reject", self._reject)
        self._add(app, "redirect", "POST", _CONNECTIONS + ":redirect", self._redirect)
        self._add(app, "connect", "POST", _CONNECTIONS + ":connect", _unsupported)
        for name, method, path, handler in (
            ("get", "GET", _CONNECTION, self._get),
            ("hang_up", "DELETE", _CONNECTION, self._hang_up),
            ("terminate", "POST", _CONNECTION + ":terminate", self._terminate),
            ("transfer", "POST", _CONNECTION + ":transferToParticipant", self._transfer),
            ("list_participants", "GET", _PARTICIPANTS, self._list_participants),
            ("add_participant", "POST", _PARTICIPANTS + ":add", self._add_participant),
            ("remove_participant", "POST", _PARTICIPANTS + ":remove", self._remove_participant),
            ("cancel_add_participant", "POST", _PARTICIPANTS + ":cancelAddParticipant", self._cancel_add),
            ("mute", "POST", _PARTICIPANTS + ":mute", self._mute),
            ("get_participant", "GET", _PARTICIPANTS + "/{who}", self._get_participant),
            ("start_media_streaming", "POST", _CONNECTION + ":startMediaStreaming", self._start_streaming),
            ("stop_media_streaming", "POST", _CONNECTION + ":stopMediaStreaming", self._stop_streaming),
            ("play", "POST", _CONNECTION + ":play", self._play),
            ("recognize", "POST", _CONNECTION + ":recognize", self._recognize),
            ("cancel_media", "POST", _CONNECTION + ":cancelAllMediaOperations", self._cancel_media),
            ("start_dtmf", "POST", _CONNECTION + ":startContinuousDtmfRecognition", self._start_dtmf),
            ("stop_dtmf", "POST", _CONNECTION + ":stopContinuousDtmfRecognition", self._stop_dtmf),
            ("send_dtmf", "POST", _CONNECTION + ":sendDtmfTones", self._send_dtmf),
            ("hold", "POST", _CONNECTION + ":hold", self._hold),
            ("unhold", "POST", _CONNECTION + ":unhold", self._unhold),
        ):
            self._add(app, name, method, path, self._on_call(handler))
        for action in ("startTranscription", "stopTranscription", "updateTranscription"):
            self._add(app, "transcription", "POST", f"{_CONNECTION}:{action}", _unsupported)
        self._add(app, "move_participants", "POST", _PARTICIPANTS + ":moveHere", _unsupported)
        self._add(app, "start_recording", "POST", _RECORDINGS, self._start_recording)
        self._add(app, "get_recording", "GET", _RECORDING, self._get_recording)
        self._add(app, "stop_recording", "DELETE", _RECORDING, self._stop_recording)
        self._add(app, "pause_recording", "POST", _RECORDING + ":pause", self._pause_recording)
        self._add(app, "resume_recording", "POST", _RECORDING + ":resume", self._resume_recording)

    def _add(self, app: web.Application, name: str, method: str, path: str, operate: Operate) -> None:
        if name not in self.operations:
            self.operations.append(name)

        async def handle(request: web.Request) -> web.StreamResponse:
            await self._authentication.require(request)
            _check_version(request)
            return await self._with_faults(name, request, operate)

        # aiohttp answers HEAD by GET otherwise, which the service does not.
        if method == "GET":
            app.router.add_get(path, handle, allow_head=False)
        else:
            app.router.add_route(method, path, handle)

    async def _with_faults(self, name: str, request: web.Request, operate: Operate) -> web.Response:
        fault = self._service.faults.on_operation(name, request.match_info.get("id", ""))
        if fault is None:
            return await self._once(request, operate)
        response = await self._once(request, operate) if fault.effect else None
        if fault.ms:
            await asyncio.sleep(fault.ms / 1000)
        if fault.status is not None:
            return _failure(fault)
        return response if response is not None else await self._once(request, operate)

    async def _once(self, request: web.Request, operate: Operate) -> web.Response:
        """Do it, or repeat the answer where the client repeats its request (Repeatability-Request-ID)."""
        repeat = request.headers.get("Repeatability-Request-ID")
        if repeat is None:
            return await operate(request)
        key = (request.path, repeat)
        known = self._repeats.get(key)
        if known is not None:
            status, body = known
            response = web.Response(status=status, body=body or None, content_type="application/json")
        else:
            response = await operate(request)
            content = response.body
            self._repeats[key] = (response.status, content if isinstance(content, bytes) else b"")
            while len(self._repeats) > _REMEMBERED_REPEATS:
                self._repeats.popitem(last=False)
        response.headers["Repeatability-Result"] = "accepted"
        return response

    def _on_call(self, handler: OnCall) -> Operate:
        async def operate(request: web.Request) -> web.Response:
            return await handler(request, self._service.calls.connection(request.match_info["id"]))

        return operate

    async def _answer(self, request: web.Request) -> web.Response:
        return answer(self._service.answer(await read(request, bodies.Answer)).properties())

    async def _create(self, request: web.Request) -> web.Response:
        call = self._service.create(await read(request, bodies.Create))
        return answer(call.properties(), status=201)

    async def _reject(self, request: web.Request) -> web.Response:
        self._service.reject(await read(request, bodies.Reject))
        return answer(status=204)

    async def _redirect(self, request: web.Request) -> web.Response:
        self._service.redirect(await read(request, bodies.Redirect))
        return answer(status=204)

    async def _get(self, request: web.Request, call: Call) -> web.Response:
        return answer(call.properties())

    async def _hang_up(self, request: web.Request, call: Call) -> web.Response:
        self._service.hang_up(call, everyone=False)
        return answer(status=204)

    async def _terminate(self, request: web.Request, call: Call) -> web.Response:
        self._service.hang_up(call, everyone=True)
        return answer(status=204)

    async def _transfer(self, request: web.Request, call: Call) -> web.Response:
        return answer(self._people.transfer(call, await read(request, bodies.Transfer)), status=202)

    async def _list_participants(self, request: web.Request, call: Call) -> web.Response:
        return answer(self._people.list_participants(call))

    async def _get_participant(self, request: web.Request, call: Call) -> web.Response:
        return answer(self._people.participant(call, unquote(request.match_info["who"])))

    async def _add_participant(self, request: web.Request, call: Call) -> web.Response:
        return answer(self._people.add(call, await read(request, bodies.AddParticipant)), status=202)

    async def _remove_participant(self, request: web.Request, call: Call) -> web.Response:
        return answer(self._people.remove(call, await read(request, bodies.RemoveParticipant)), status=202)

    async def _cancel_add(self, request: web.Request, call: Call) -> web.Response:
        return answer(
            self._people.cancel_add(call, await read(request, bodies.CancelAddParticipant)), status=202
        )

    async def _mute(self, request: web.Request, call: Call) -> web.Response:
        return answer(self._people.mute(call, await read(request, bodies.Mute)))

    async def _hold(self, request: web.Request, call: Call) -> web.Response:
        self._people.hold(call, await read(request, bodies.OnParticipant), on=True)
        return answer()

    async def _unhold(self, request: web.Request, call: Call) -> web.Response:
        self._people.hold(call, await read(request, bodies.OnParticipant), on=False)
        return answer()

    async def _start_streaming(self, request: web.Request, call: Call) -> web.Response:
        self._media.start_streaming(call, await read(request, bodies.Operation))
        return answer(status=202)

    async def _stop_streaming(self, request: web.Request, call: Call) -> web.Response:
        self._media.stop_streaming(call, await read(request, bodies.Operation))
        return answer(status=202)

    async def _play(self, request: web.Request, call: Call) -> web.Response:
        self._media.play(call, await read(request, bodies.Play))
        return answer(status=202)

    async def _recognize(self, request: web.Request, call: Call) -> web.Response:
        self._media.recognize(call, await read(request, bodies.Recognize))
        return answer(status=202)

    async def _cancel_media(self, request: web.Request, call: Call) -> web.Response:
        self._media.cancel_all(call)
        return answer(status=202)

    async def _start_dtmf(self, request: web.Request, call: Call) -> web.Response:
        self._media.continuous_dtmf(call, await read(request, bodies.OnParticipant), on=True)
        return answer()

    async def _stop_dtmf(self, request: web.Request, call: Call) -> web.Response:
        self._media.continuous_dtmf(call, await read(request, bodies.OnParticipant), on=False)
        return answer()

    async def _send_dtmf(self, request: web.Request, call: Call) -> web.Response:
        body = await read(request, bodies.SendTones)
        self._media.send_tones(call, body)
        echo = {} if body.operation_context is None else {"operationContext": body.operation_context}
        return answer(echo, status=202)

    async def _start_recording(self, request: web.Request) -> web.Response:
        body = await read(request, bodies.StartRecording)
        if body.call_connection_id is not None:
            call = self._service.calls.connection(body.call_connection_id)
        elif body.call_locator is not None and body.call_locator.server_call_id is not None:
            call = self._service.calls.by_server_call_id(body.call_locator.server_call_id)
        else:
            raise invalid("'callLocator' with a 'serverCallId', or 'callConnectionId', is needed.")
        return answer(self._service.recordings.start(call, body).state())

    async def _get_recording(self, request: web.Request) -> web.Response:
        return answer(self._service.recordings.find(request.match_info["recording"]).state())

    async def _stop_recording(self, request: web.Request) -> web.Response:
        self._service.recordings.stop(request.match_info["recording"])
        return answer(status=204)

    async def _pause_recording(self, request: web.Request) -> web.Response:
        self._service.recordings.pause(request.match_info["recording"])
        return answer(status=202)

    async def _resume_recording(self, request: web.Request) -> web.Response:
        self._service.recordings.resume(request.match_info["recording"])
        return answer(status=202)


async def _unsupported(request: web.Request) -> web.Response:
    raise RejectedError(405, NOT_SUPPORTED, f"The emulator does not know {request.path.rpartition('/')[2]}.")


def _check_version(request: web.Request) -> None:
    if not _API_VERSION.fullmatch(request.query.get("api-version", "")):
        raise RejectedError(400, INVALID_ARGUMENT, "'api-version' must be a date such as 2026-03-12.")


def _failure(fault: Fault) -> web.Response:
    status = fault.status or 500
    code = fault.code or {429: "TooManyRequests"}.get(status, str(status))
    response = answer(
        {"error": {"code": code, "message": fault.message or "A fault on request."}}, status=status
    )
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response
