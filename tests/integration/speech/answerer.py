"""A small voice agent behind aiortc, and the HTTP API that leads to it: what the caller is tested against.

It hears with the real voice activity detection and speech to text, answers in speech, stops when it is
interrupted, and tells on the data channel when its audio starts and stops.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine

from aiohttp import web
from aiortc import MediaStreamTrack, RTCDataChannel, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from emulators.speech import hearing, speaking
from emulators.speech.voice_activity import SpeechStarted, VoiceActivityDetector
from emulators.webrtc_audio import MonoReader, SpeechTrack
from emulators.webrtc_ice import local_peer_connection

FUNCTION_KEY = "key-of-the-test"
EPHEMERAL = "ek_of_the_test"
CLIENT_TOKEN = "client-token-of-the-test"


class Answerer:
    """One call's far end. `answers`: what to say to each utterance; "|" is a pause as of a tool at work."""

    def __init__(
        self, answers: list[str], *, greeting: str = "", tells: bool = True, ends: bool = False
    ) -> None:
        self.heard: list[str] = []
        self.client_events: list[object] = []
        self._answers = list(answers)
        self._greeting = greeting
        self._tells = tells
        self._ends = ends
        self._peer = local_peer_connection()
        self._mouth = SpeechTrack()
        self._channel: RTCDataChannel | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaking: asyncio.Task[None] | None = None

    async def answer(self, offer: str) -> str:
        self._peer.on("track", lambda track: self._own(self._listen(track)))
        self._peer.on("datachannel", self._on_channel)
        await self._peer.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        self._peer.addTrack(self._mouth)
        await self._peer.setLocalDescription(await self._peer.createAnswer())
        return self._peer.localDescription.sdp

    async def close(self) -> None:
        for task in (tasks := [task for task in self._tasks if task is not asyncio.current_task()]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._peer.close()

    def tell(self, event: dict[str, object]) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(json.dumps(event))

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", lambda message: self.client_events.append(json.loads(message)))
        self.tell({"type": "session.created"})
        if self._greeting:
            self._speaking = self._own(self._speak(self._greeting))

    async def _listen(self, track: MediaStreamTrack) -> None:
        reader, ears = MonoReader(24_000), VoiceActivityDetector(rate=24_000)
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                for event in ears.feed(reader.read(frame)):
                    if isinstance(event, SpeechStarted):
                        self._interrupt()
                    else:
                        self._speaking = self._own(self._respond(event.audio))
        except MediaStreamError:
            pass
        finally:
            ears.close()

    def _interrupt(self) -> None:
        if self._speaking is not None and not self._speaking.done():
            self._speaking.cancel()
        if self._mouth.clear() and self._tells:
            self.tell({"type": "output_audio_buffer.cleared"})

    async def _respond(self, audio: bytes) -> None:
        text = await hearing.transcribe(audio, 24_000)
        self.heard.append(text)
        if self._answers:
            for part in self._answers.pop(0).split("|"):
                await self._speak(part)
                await asyncio.sleep(0.6)
        elif self._ends:
            await self._peer.close()

    async def _speak(self, text: str) -> None:
        if self._tells:
            self.tell({"type": "output_audio_buffer.started"})
        async for chunk in speaking.synthesise(text):
            self._mouth.push(chunk)
        await self._mouth.drained()
        if self._tells:
            self.tell({"type": "output_audio_buffer.stopped"})

    def _own(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def public_api(answerer: Answerer) -> web.Application:
    """The HTTP face of the product and of its provider, as far as a caller needs it."""
    reported: dict[str, object] = {}
    routes = web.RouteTableDef()

    @routes.post("/api/v1/token")
    async def token(request: web.Request) -> web.Response:
        if request.headers.get("x-functions-key") != FUNCTION_KEY:
            return _problem(401, "key_invalid", "the function key is wrong")
        agent = (await request.json())["agent"]
        if agent != "member-services":
            return _problem(404, "agent_unknown", f"there is no agent {agent}")
        return web.json_response(
            {
                "session_id": "ses_1",
                "client_secret": {"value": EPHEMERAL, "expires_at": 1},
                "calls_url": f"{request.url.origin()}/openai/v1/realtime/calls?webrtcfilter=on",
                "client_token": CLIENT_TOKEN,
            }
        )

    @routes.post("/openai/v1/realtime/calls")
    async def calls(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {EPHEMERAL}"
        assert request.query["webrtcfilter"] == "on"
        return await _answered(request, "/v1/realtime/calls/rtc_7", {})

    @routes.post("/api/v1/sessions/{session_id}/call")
    async def call(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {CLIENT_TOKEN}"
        reported[request.match_info["session_id"]] = (await request.json())["call_id"]
        return web.json_response(reported)

    @routes.post("/api/v1/sessions")
    async def relay(request: web.Request) -> web.Response:
        assert request.headers["x-functions-key"] == FUNCTION_KEY
        assert request.query["agent"] == "member-services"
        return await _answered(request, "/api/v1/sessions/ses_2", {"x-sidetone-client-token": CLIENT_TOKEN})

    @routes.get("/reported")
    async def what_was_reported(_request: web.Request) -> web.Response:
        return web.json_response(reported)

    async def _answered(request: web.Request, location: str, headers: dict[str, str]) -> web.Response:
        assert request.content_type == "application/sdp"
        answer = await answerer.answer(await request.text())
        return web.Response(
            status=201, text=answer, content_type="application/sdp", headers={"Location": location, **headers}
        )

    app = web.Application()
    app.add_routes(routes)
    return app


def _problem(status: int, code: str, detail: str) -> web.Response:
    return web.json_response(
        {"status": status, "code": code, "detail": detail},
        status=status,
        content_type="application/problem+json",
    )
