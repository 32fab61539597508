"""`/_emu/calls/{id}/…`: the people on the phone speak, press keys, listen and hang up; what they heard."""

from __future__ import annotations

import asyncio

from aiohttp import web

from emulators.communication import admin_bodies as bodies
from emulators.communication.admin_routes import on_call, only_from_here
from emulators.communication.calls import Call
from emulators.communication.frames import BYTES_PER_MS
from emulators.communication.identifiers import named
from emulators.communication.microphone import Utterance
from emulators.communication.participants import Participant
from emulators.communication.service import CommunicationService
from emulators.communication.spoken import utterance_of
from emulators.communication.tracks import mono_wav, stereo_wav
from emulators.communication.voice import read_wav
from emulators.communication.wire import (
    CONFLICT,
    NOT_ESTABLISHED,
    RejectedError,
    answer,
    read,
)

_WAV = frozenset({"audio/wav", "audio/x-wav", "audio/wave"})
_TALKING = frozenset({"connected", "transferred", "left"})


class CallerRoutes:
    """Handlers of what people on the phone do."""

    def __init__(self, service: CommunicationService) -> None:
        self._service = service

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        for method, path, handler in (
            ("POST", "say", self.say),
            ("POST", "hush", self.hush),
            ("POST", "listen", self.listen),
            ("POST", "press", self.press),
            ("POST", "hang-up", self.hang_up),
            ("GET", "said.wav", self.said),
            ("GET", "heard.wav", self.heard),
            ("GET", "call.wav", self.both),
            ("GET", "transcript", self.transcript),
        ):
            wrapped = only_from_here(on_call(self._service, handler))
            app.router.add_route(method, f"/_emu/calls/{{id}}/{path}", wrapped)

    async def say(self, request: web.Request, call: Call) -> web.Response:
        """A WAV body, or `{"text"}`, or `{"tone_ms"}`; answers when it is said, unless `wait` is false."""
        if request.content_type in _WAV:
            who = _talking(call, request.query.get("participant"))
            utterance = Utterance(await asyncio.to_thread(read_wav, await request.read()))
            wait = request.query.get("wait") != "false"
        else:
            body = await read(request, bodies.Say)
            who = _talking(call, body.participant)
            utterance = await utterance_of(body, self._service.voice)
            wait = body.wait
        call.log.record("say", who=who.identifier.name, ms=utterance.length // BYTES_PER_MS)
        who.microphone.say(utterance)
        if wait:
            await utterance.said.wait()
        return answer({"who": who.identifier.name, "ms": utterance.length // BYTES_PER_MS})

    async def hush(self, request: web.Request, call: Call) -> web.Response:
        """Stop speaking in mid-sentence."""
        body = await read(request, bodies.Person)
        who = _talking(call, body.participant)
        who.microphone.hush()
        return answer({"who": who.identifier.name})

    async def listen(self, request: web.Request, call: Call) -> web.Response:
        """Wait until there was so much sound, or quiet; 408 when the time is over before."""
        body = await read(request, bodies.Listen)
        who = _talking(call, body.participant)
        ear = who.ear
        began, sound = call.media.milliseconds, ear.sound_ms
        if not ear.listeners:
            ear.quiet_ms = 0
        ear.listeners += 1
        try:
            while True:
                heard = ear.sound_ms - sound if body.until == "sound" else ear.quiet_ms
                listened = call.media.milliseconds - began
                if heard >= body.ms:
                    return answer({"who": who.identifier.name, "listened_ms": listened})
                gone = call.state not in _TALKING or who not in call.roster
                if gone or listened >= body.timeout_ms:
                    raise RejectedError(
                        408, "NotHeard", f"No {body.ms} ms of {body.until} within {listened} ms."
                    )
                ear.changed.clear()
                await ear.changed.wait()
        finally:
            ear.listeners -= 1

    async def press(self, request: web.Request, call: Call) -> web.Response:
        """`{"digits": "12#"}`."""
        body = await read(request, bodies.Press)
        who = _talking(call, body.participant)
        self._service.media_operations.press(call, who, body.digits)
        return answer({"who": who.identifier.name, "pressed": body.digits})

    async def hang_up(self, request: web.Request, call: Call) -> web.Response:
        """Somebody hangs up; nobody named: all do."""
        body = await read(request, bodies.Person)
        self._service.caller_hangs_up(call, named(body.participant) if body.participant else None)
        return answer(call.shown())

    async def said(self, request: web.Request, call: Call) -> web.Response:
        return _wav(mono_wav(_anybody(call, request).said.pcm16()))

    async def heard(self, request: web.Request, call: Call) -> web.Response:
        return _wav(mono_wav(_anybody(call, request).heard.pcm16()))

    async def both(self, request: web.Request, call: Call) -> web.Response:
        """What was said on the left, what was heard on the right."""
        who = _anybody(call, request)
        return _wav(stereo_wav(who.said.frames(), who.heard.frames()))

    async def transcript(self, request: web.Request, call: Call) -> web.Response:
        """What speech to text makes of both directions."""
        who = _anybody(call, request)
        voice = self._service.voice
        return answer(
            {
                "said": await voice.transcript(who.said.pcm16()),
                "heard": await voice.transcript(who.heard.pcm16()),
            }
        )


def _talking(call: Call, name: str | None) -> Participant:
    if call.state not in _TALKING:
        raise RejectedError(409, NOT_ESTABLISHED, f"Nobody talks in this call: it is {call.state}.")
    return call.person(named(name) if name else None)


def _anybody(call: Call, request: web.Request) -> Participant:
    name = request.query.get("participant")
    wanted = named(name) if name else None
    for participant in call.roster.everybody():
        if wanted in (None, participant.identifier):
            return participant
    raise RejectedError(409, CONFLICT, "Nobody of that name was in this call.")


def _wav(data: bytes) -> web.Response:
    return web.Response(body=data, content_type="audio/wav")
