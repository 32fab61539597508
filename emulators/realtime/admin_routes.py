"""`/_emu`: the caller's side and the test's side of the emulator. Only reachable from this machine."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Coroutine

from aiohttp import web

from emulators.realtime.earpiece import Earpiece
from emulators.realtime.faults import FaultPlan, parse_fault, shown
from emulators.realtime.live_session import LiveSession
from emulators.realtime.recordings import read_wav
from emulators.realtime.rest_routes import json_body, json_response
from emulators.realtime.service import RealtimeService
from emulators.realtime.session.validation import missing, number, only_keys, require_object
from emulators.realtime.speech_set import BYTES_PER_MS
from emulators.realtime.wire import Json, RejectedError, as_list, as_text

_DIGITS = frozenset("0123456789*#ABCD")


class AdminRoutes:
    """Handlers below `/_emu`."""

    def __init__(self, service: RealtimeService) -> None:
        self._service = service
        self._saying: set[asyncio.Task[None]] = set()

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        router = app.router
        router.add_get("/_emu/health", self.health)
        router.add_get("/_emu/calls", self.list_calls)
        router.add_get("/_emu/calls/{id}", self.show_call)
        router.add_get("/_emu/calls/{id}/events", self.events)
        router.add_get("/_emu/calls/{id}/items", self.items)
        router.add_get("/_emu/calls/{id}/heard.wav", self.heard)
        router.add_post("/_emu/calls/{id}/listen", self.listen)
        router.add_post("/_emu/calls/{id}/say", self.say)
        router.add_post("/_emu/calls/{id}/dtmf", self.dtmf)
        router.add_post("/_emu/calls/{id}/hang-up", self.hang_up)
        router.add_post("/_emu/incoming-sip", self.incoming_sip)
        router.add_get("/_emu/faults", self.list_faults)
        router.add_post("/_emu/faults", self.add_fault)
        router.add_delete("/_emu/faults", self.forget_faults)
        router.add_post("/_emu/expire-secrets", self.expire_secrets)
        app.on_cleanup.append(self._stop)

    async def health(self, request: web.Request) -> web.Response:
        calls = list(self._service.calls)
        live = sum(call.state == "live" for call in calls)
        return json_response({"status": "ok", "live": live, "known": len(calls)})

    async def list_calls(self, request: web.Request) -> web.Response:
        _local_only(request)
        return json_response({"calls": [call.shown() for call in self._service.calls]})

    async def show_call(self, request: web.Request) -> web.Response:
        _local_only(request)
        return json_response(self._service.calls.find(request.match_info["id"]).shown())

    async def events(self, request: web.Request) -> web.Response:
        _local_only(request)
        session = self._service.calls.find(request.match_info["id"]).session
        after = request.query.get("after", "0")
        if not after.isdecimal():
            raise RejectedError("invalid_value", "'after' must be a number.", param="after")
        return json_response({"events": session.audience.log.after(int(after)) if session else []})

    async def items(self, request: web.Request) -> web.Response:
        _local_only(request)
        session = self._service.calls.find(request.match_info["id"]).session
        return json_response({"items": session.core.items() if session else []})

    async def heard(self, request: web.Request) -> web.Response:
        """What the caller of a SIP call hears, as a WAV; also after the call's end."""
        return web.Response(body=self._earpiece(request).wav(), content_type="audio/wav")

    async def listen(self, request: web.Request) -> web.Response:
        """`{"until": "sound" or "quiet", "ms"?, "timeout_ms"?}`: wait for it as the caller of a SIP call."""
        earpiece = self._earpiece(request)
        body = await json_body(request)
        only_keys(body, ("until", "ms", "timeout_ms"), "body")
        number(body, "ms", "body", low=1, high=600_000, whole=True)
        number(body, "timeout_ms", "body", low=1, high=600_000, whole=True)
        until, ms, timeout_ms = body.get("until"), body.get("ms", 600), body.get("timeout_ms", 30_000)
        if until not in ("sound", "quiet") or not isinstance(ms, int) or not isinstance(timeout_ms, int):
            raise RejectedError("invalid_value", "'until' must be 'sound' or 'quiet'.", param="until")
        if not await earpiece.listen(sound=until == "sound", milliseconds=ms, timeout_ms=timeout_ms):
            raise RejectedError("not_heard", f"No {ms} ms of {until} in that time.", status=408)
        return json_response({"until": until, "ms": ms})

    async def say(self, request: web.Request) -> web.Response:
        """`{"text", "duration_ms"?, "wait"?}`, `{"turns": [text, …]}`, or a WAV body: the caller says it."""
        _local_only(request)
        session = self._live(request)
        if request.content_type in ("audio/wav", "audio/x-wav", "audio/wave"):
            if not session.hears:
                raise RejectedError(
                    "no_speech", 'Without ears (--no-speech) say it as text: {"text": …}.', status=409
                )
            recording = read_wav(await request.read())
            await asyncio.shield(self._say(session.play(recording)))
            return json_response({"played_ms": len(recording) // BYTES_PER_MS})
        body = await json_body(request)
        only_keys(body, ("text", "turns", "duration_ms", "wait"), "body")
        number(body, "duration_ms", "body", low=0, high=120_000)
        duration = body.get("duration_ms")
        turns = as_list(body.get("turns")) or [body.get("text")]
        texts = [text for turn in turns if (text := as_text(turn)) is not None]
        if len(texts) != len(turns):
            raise missing("text")
        length = float(duration) if isinstance(duration, (int, float)) else None
        task = self._say(_say_all(session, texts, length))
        if body.get("wait") is not False:
            await asyncio.shield(task)
        return json_response({"said": texts})

    async def dtmf(self, request: web.Request) -> web.Response:
        """`{"digits": "12#"}`: the caller presses keys (SIP)."""
        _local_only(request)
        session = self._live(request)
        digits = as_text((await json_body(request)).get("digits")) or ""
        if not digits or not set(digits) <= _DIGITS or session.core.transport != "sip":
            raise RejectedError(
                "invalid_value", "Give 'digits' of 0-9, *, #, A-D, and the id of a live SIP call."
            )
        session.press(digits, int(time.time()))
        return json_response({"pressed": digits})

    async def hang_up(self, request: web.Request) -> web.Response:
        """The caller hangs up (or gives up ringing)."""
        _local_only(request)
        call = self._service.calls.find(request.match_info["id"])
        call.end("caller_hung_up")
        return json_response(call.shown())

    async def incoming_sip(self, request: web.Request) -> web.Response:
        """`{"from"?, "to"?, "headers"?, "duplicates"?}`: a phone call comes in."""
        _local_only(request)
        body = await json_body(request)
        only_keys(body, ("from", "to", "headers", "duplicates"), "body")
        number(body, "duplicates", "body", low=0, high=10, whole=True)
        return json_response({"call_id": self._service.ring(body).id}, status=201)

    async def list_faults(self, request: web.Request) -> web.Response:
        _local_only(request)
        return json_response({"http": _shown(self._service.http_faults)})

    async def add_fault(self, request: web.Request) -> web.Response:
        """Plan one fault, or a list under `faults`; `target` is a call id, "next" (default) or "all"."""
        _local_only(request)
        body = await json_body(request)
        listed = as_list(body.get("faults"))
        entries = [require_object(entry, "fault") for entry in listed] if listed is not None else [body]
        planned = [(as_text(entry.get("target")) or "next", parse_fault(entry)) for entry in entries]
        for target, fault in planned:
            if fault.kind == "http":
                self._service.http_faults.add([fault])
            else:
                self._service.calls.plan(target, fault)
        return json_response({"planned": [shown(fault) for _, fault in planned]}, status=201)

    async def forget_faults(self, request: web.Request) -> web.Response:
        _local_only(request)
        self._service.calls.forget_faults()
        self._service.http_faults.waiting.clear()
        return json_response({"planned": []})

    async def expire_secrets(self, request: web.Request) -> web.Response:
        _local_only(request)
        return json_response({"expired": self._service.secrets.expire_all()})

    def _say(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)
        return task

    def _earpiece(self, request: web.Request) -> Earpiece:
        _local_only(request)
        earpiece = self._service.calls.find(request.match_info["id"]).earpiece
        if earpiece is None:
            raise RejectedError(
                "no_earpiece", "Only SIP calls in real time, with speech, can be listened to.", status=409
            )
        return earpiece

    def _live(self, request: web.Request) -> LiveSession:
        call = self._service.calls.find(request.match_info["id"])
        if call.session is None or call.session.ended is not None:
            raise RejectedError("call_not_live", "This call is not live.", status=409)
        return call.session

    async def _stop(self, _app: web.Application) -> None:
        for task in list(self._saying):
            task.cancel()
        await asyncio.gather(*self._saying, return_exceptions=True)


async def _say_all(session: LiveSession, texts: list[str], duration_ms: float | None) -> None:
    for text in texts:
        if session.ended is None:
            await session.say(text, duration_ms=duration_ms)


def _shown(plan: FaultPlan) -> list[Json]:
    return [shown(fault) for fault in plan.waiting]


def _local_only(request: web.Request) -> None:
    try:
        local = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        local = False
    if not local:
        raise RejectedError("forbidden", "/_emu is only served to this machine.", status=403)
