"""Actions on a call's sound: play, recognise, keys both ways, media streaming on and off."""

from __future__ import annotations

import asyncio

import aiohttp

from emulators.communication import rest_bodies as bodies
from emulators.communication.announcements import Announcements
from emulators.communication.calls import Call
from emulators.communication.cloud_events import CANCELLED, SUCCESS, Result
from emulators.communication.frames import BYTES_PER_MS
from emulators.communication.identifiers import Identifier
from emulators.communication.microphone import Utterance
from emulators.communication.outbound_http import OutboundHttp
from emulators.communication.participants import Participant
from emulators.communication.prompts import Prompt
from emulators.communication.recognition import TONES, Recognition
from emulators.communication.streaming import MediaStreaming, OperationEcho
from emulators.communication.voice import Voice, read_wav
from emulators.communication.wire import Json, RejectedError, invalid

_DOWNLOAD = aiohttp.ClientTimeout(total=10)
_INVALID_MEDIA_MODE = "8500"
_NO_STREAMING = "8585"


class PlayError(Exception):
    """A play source can't be played; `result` says why, `index` which one."""

    def __init__(self, result: Result, index: int) -> None:
        super().__init__(result.message)
        self.result = result
        self.index = index


class MediaOperations:
    """What media actions do."""

    def __init__(
        self, announcements: Announcements, voice: Voice, http: OutboundHttp, *, speed: float
    ) -> None:
        self._announcements = announcements
        self._voice = voice
        self._http = http
        self._speed = speed

    def play(self, call: Call, request: bodies.Play) -> None:
        """Play sources to all or to some, after those that are playing."""
        call.require_connected()
        to = [who.identifier() for who in request.play_to or []]
        for identifier in to:
            call.roster.find(identifier)
        if request.interrupt_call_media_operation:
            call.media.prompts.cancel()
        loop = request.play_options is not None and request.play_options.loop
        call.tasks.start(self._play(call, request.play_sources, to, request.echo(), loop=loop))

    def cancel_all(self, call: Call) -> None:
        """Break off prompts and recognition."""
        call.require_connected()
        call.media.prompts.cancel()
        if call.recognition is not None:
            call.recognition.cancel()

    def recognize(self, call: Call, request: bodies.Recognize) -> None:
        """Collect input from one participant, after a prompt."""
        call.require_connected()
        options = request.recognize_options
        who = call.roster.find(options.target_participant.identifier())
        if call.recognition is not None and not call.recognition.over:
            if not request.interrupt_call_media_operation:
                raise RejectedError(400, _INVALID_MEDIA_MODE, "Another recognition is in progress.")
            call.recognition.cancel()
        if request.interrupt_call_media_operation:
            call.media.prompts.cancel()
        echo = request.echo()

        def ended(event: str, data: Json, result: Result) -> None:
            if call.state == "connected":
                self._announcements.tell(call, event, data, result=result, echo=echo)

        recognition = Recognition(
            request.recognize_input_type,
            options,
            raw_id=who.identifier.raw_id,
            speed=self._speed,
            ended=ended,
        )
        call.recognition = recognition
        prompts = request.play_prompts or ([request.play_prompt] if request.play_prompt else [])
        call.tasks.start(self._prompt(call, recognition, prompts, who.identifier))

    def send_tones(self, call: Call, request: bodies.SendTones) -> None:
        """Press keys on behalf of the application."""
        call.require_connected()
        listener = call.roster.find(request.target_participant.identifier())
        unknown = set(request.tones) - set(TONES.values())
        if unknown:
            raise invalid(f"'tones' has unknown ones: {', '.join(sorted(unknown))}.", target="tones")
        listener.tones_heard.extend(request.tones)
        call.log.record("tones_sent", to=listener.identifier.name, tones=request.tones)
        self._announcements.tell(call, "SendDtmfTonesCompleted", echo=request.echo())

    def continuous_dtmf(self, call: Call, request: bodies.OnParticipant, *, on: bool) -> None:
        """Tell of every key that a participant presses, or no longer."""
        call.require_connected()
        who = call.roster.find(request.target_participant.identifier()).identifier
        if on:
            call.dtmf_subscriptions[who.raw_id] = request.echo()
        elif call.dtmf_subscriptions.pop(who.raw_id, None) is not None:
            self._announcements.tell(call, "ContinuousDtmfRecognitionStopped", echo=request.echo())

    def start_streaming(self, call: Call, request: bodies.Operation) -> None:
        """Dial the application."""
        _streaming(call).start(request.echo())

    def stop_streaming(self, call: Call, request: bodies.Operation) -> None:
        """Close the media connection."""
        streaming = _streaming(call)
        call.tasks.start(streaming.stop(request.echo()))

    def press(self, call: Call, who: Participant, digits: str) -> None:
        """Somebody on the phone presses keys."""
        for digit in digits:
            call.log.record("pressed", who=who.identifier.name, digit=digit)
            tone = TONES[digit]
            if call.streaming is not None:
                call.streaming.press(digit)
            echo = call.dtmf_subscriptions.get(who.identifier.raw_id)
            if echo is not None:
                call.dtmf_sequence += 1
                data: Json = {"sequenceId": call.dtmf_sequence, "tone": tone}
                self._announcements.tell(call, "ContinuousDtmfRecognitionToneReceived", data, echo=echo)
            recognition = _listening(call, who)
            if recognition is not None:
                if recognition.interrupts:
                    call.media.prompts.cancel()
                recognition.tone(tone)

    def said(self, call: Call, who: Participant, utterance: Utterance) -> None:
        """Somebody on the phone has said something."""
        recognition = _listening(call, who)
        if recognition is not None:
            call.tasks.start(self._recognised(recognition, utterance))

    async def _recognised(self, recognition: Recognition, utterance: Utterance) -> None:
        words = utterance.words
        if words is None and self._voice.speech:
            words = await self._voice.transcript(utterance.pcm16)
        if words:
            recognition.words(words)

    async def _play(
        self,
        call: Call,
        sources: list[bodies.PlaySource],
        to: list[Identifier],
        echo: OperationEcho,
        *,
        loop: bool,
    ) -> None:
        def started() -> None:
            self._announcements.tell(call, "PlayStarted", echo=echo)

        def ended(completed: bool) -> None:
            if call.state == "connected":
                name = "PlayCompleted" if completed else "PlayCanceled"
                self._announcements.tell(call, name, result=SUCCESS if completed else CANCELLED, echo=echo)

        async with call.media.prompts.preparing() as cancelled:
            try:
                if call.faults.take("play_failed") is not None:
                    raise PlayError(Result(code=500, sub_code=8511, message="Play prompt failed."), 0)
                pcm16 = await self._sound(sources)
            except PlayError as error:
                data: Json = {"failedPlaySourceIndex": error.index}
                self._announcements.tell(call, "PlayFailed", data, result=error.result, echo=echo)
                return
            if cancelled():
                ended(False)
                return
            listeners = frozenset(identifier.raw_id for identifier in to)
            call.media.prompts.add(
                Prompt(pcm16=pcm16, to=listeners, on_started=started, on_ended=ended, loop=loop)
            )
            call.log.record("prompt", ms=len(pcm16) // BYTES_PER_MS)

    async def _prompt(
        self,
        call: Call,
        recognition: Recognition,
        sources: list[bodies.PlaySource],
        who: Identifier,
    ) -> None:
        if not sources:
            recognition.listen()
            return
        async with call.media.prompts.preparing() as cancelled:
            try:
                pcm16 = await self._sound(sources)
            except PlayError as error:
                recognition.failed_prompt(error.result, error.index)
                return
            if cancelled():
                recognition.listen()
                return
            prompt = Prompt(
                pcm16=pcm16,
                to=frozenset({who.raw_id}),
                on_started=lambda: None,
                on_ended=lambda _: recognition.listen(),
            )
            call.media.prompts.add(prompt)

    async def _sound(self, sources: list[bodies.PlaySource]) -> bytes:
        """Return the sources one after the other; raises PlayError."""
        pieces: list[bytes] = []
        for index, source in enumerate(sources):
            if source.kind == "file" and source.file is not None:
                pieces.append(await self._file(source.file.uri, index))
            elif source.kind == "ssml" and source.ssml is not None:
                pieces.append(await self._voice.prompt(source.ssml.ssml_text))
            elif source.kind == "text" and source.text is not None:
                pieces.append(await self._voice.prompt(source.text.text))
            else:
                message = "Action failed, play source is missing."
                raise PlayError(Result(code=400, sub_code=8582, message=message), index)
        return b"".join(pieces)

    async def _file(self, uri: str, index: int) -> bytes:
        try:
            async with self._http.client.get(uri, timeout=_DOWNLOAD) as reply:
                if reply.status != 200:
                    message = f"Action failed, file could not be downloaded (HTTP {reply.status})."
                    raise PlayError(Result(code=400, sub_code=8536, message=message), index)
                data = await reply.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            message = f"Action failed, file could not be downloaded ({type(error).__name__})."
            raise PlayError(Result(code=400, sub_code=8536, message=message), index) from None
        try:
            return await asyncio.to_thread(read_wav, data)
        except RejectedError as error:
            message = f"Action failed, file format is not supported: {error.message}"
            raise PlayError(Result(code=400, sub_code=8535, message=message), index) from None


def _streaming(call: Call) -> MediaStreaming:
    call.require_connected()
    if call.streaming is None:
        raise RejectedError(
            400, _NO_STREAMING, "The call was answered or created without mediaStreamingOptions."
        )
    return call.streaming


def _listening(call: Call, who: Participant) -> Recognition | None:
    recognition = call.recognition
    if recognition is None or recognition.over or recognition.raw_id != who.identifier.raw_id:
        return None
    return recognition
