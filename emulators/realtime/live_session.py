"""A session in operation: carries out what its core asks, with sockets, speech, mind and timers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import assert_never

from emulators.realtime.audience import Audience
from emulators.realtime.audio_in import AudioIn, Utterance
from emulators.realtime.event_log import EventLog
from emulators.realtime.faults import FaultPlan
from emulators.realtime.g711 import FromPcm24k
from emulators.realtime.listeners import Listener
from emulators.realtime.mind.thoughts import CallTool, Mind, MindError, Say
from emulators.realtime.options import EmulatorOptions
from emulators.realtime.playback import AudioSink, Playback
from emulators.realtime.session.core import SessionCore
from emulators.realtime.session.effects import (
    ArmIdleTimer,
    ClearPlayback,
    DisarmIdleTimer,
    DiscardInput,
    Effect,
    Emit,
    EndOfSpeech,
    EndSession,
    Hear,
    InputAudio,
    Reconfigured,
    StopThinking,
    Think,
)
from emulators.realtime.speech_set import BYTES_PER_MS, Ears, SpokenChunk, Started, Voice, spoken_ms
from emulators.speech.sentences import spoken_pieces

logger = logging.getLogger(__name__)

_PLAYED_STEP_MS = 100
_PAUSE_BEYOND_MS = 400


class LiveSession:
    """One session with its listeners. Nothing of it is safe to use from another thread."""

    def __init__(
        self,
        *,
        core: SessionCore,
        mind: Mind,
        voice: Voice,
        ears: Ears | None,
        sink: AudioSink | None,
        options: EmulatorOptions,
        faults: FaultPlan,
        on_end: Callable[[str], None],
    ) -> None:
        """`sink` is where a call's audio goes; None for a plain WebSocket, whose client plays by itself."""
        self.core = core
        self.faults = faults
        self.audience = Audience(faults, EventLog(options.event_log))
        self.ended: str | None = None
        self._mind = mind
        self._voice = voice
        self._ears = ears
        self._options = options
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._audio_in = AudioIn(core.configuration, ears)
        self._encoders: dict[str, FromPcm24k] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._thinking: dict[str, asyncio.Task[None]] = {}
        self._idle: asyncio.TimerHandle | None = None
        self._playback = (
            Playback(sink, on_started=self._playback_started, on_stopped=self._playback_stopped)
            if sink is not None
            else None
        )
        expiry = faults.take("expire")
        seconds = expiry.ms / 1000 if expiry else options.session_minutes * 60
        self._expiry = self._loop.call_later(seconds, self._expire)

    @property
    def audio_ms(self) -> int:
        """The session's audio clock: audio received, or the time since it began where none comes."""
        elapsed = (self._loop.time() - self._began) * 1000 * self._options.speech_factor
        return int(self._audio_in.heard_ms if self._audio_in.heard_ms else elapsed)

    # Listeners

    def attach(self, listener: Listener, *, greet: bool = True) -> None:
        """Let a connection get the session's events, `session.created` first."""
        self.audience.listeners.append(listener)
        if greet:
            self._apply(self.core.attached(), listener)

    def detach(self, listener: Listener) -> None:
        """Forget a connection."""
        if listener in self.audience.listeners:
            self.audience.listeners.remove(listener)

    def client_frame(self, listener: Listener, frame: str | bytes) -> None:
        """Take one client event from a connection."""
        if self.ended is None:
            self.audience.heard_from(listener, frame)
            played = self._playback.played_ms() if self._playback else 0.0
            self._apply(self.core.handle(frame, played_ms=played), listener)

    # The caller's voice

    @property
    def hears(self) -> bool:
        """Whether ears are loaded."""
        return self._ears is not None

    def feed_audio(self, pcm16: bytes) -> None:
        """Take the caller's audio from the media leg: PCM16 mono at 24 kHz."""
        if self.ended is None:
            self.core.input_arrived(len(pcm16) / BYTES_PER_MS)
            self._listen(pcm16)

    async def say(self, text: str, *, duration_ms: float | None = None) -> None:
        """Let the caller say `text` without audio: the events are those that speech would cause.

        Without turn detection the words only go into the input buffer, for the client to commit.
        """
        length = duration_ms if duration_ms is not None else spoken_ms(text)
        if self.core.configuration.turn_detection is None:
            self._audio_in.type(text)
            self.core.input_arrived(length)
            return
        start = self.audio_ms
        self._apply(self.core.speech_started(start, played_ms=self._played_ms()))
        await asyncio.sleep(length / 1000 / self._options.speech_factor)
        if self.ended is None:
            self._audio_in.ended(Utterance(text=text))
            self._apply(self.core.speech_stopped(start + int(length)))

    async def play(self, pcm16: bytes) -> None:
        """Let the caller speak recorded audio (PCM16 mono, 24 kHz) in real time, and then pause."""
        step = _PLAYED_STEP_MS * BYTES_PER_MS
        for start in range(0, len(pcm16), step):
            self.feed_audio(pcm16[start : start + step])
            await asyncio.sleep(_PLAYED_STEP_MS / 1000 / self._options.speech_factor)
        detection = self.core.configuration.turn_detection
        pause_ms = detection.silence_ms + _PAUSE_BEYOND_MS if detection is not None else 0
        self.feed_audio(bytes(pause_ms * BYTES_PER_MS))

    def press(self, digits: str, received_at: int) -> None:
        """The caller presses telephone keys."""
        for digit in digits:
            self._apply(self.core.dtmf(digit, received_at))

    # The end

    def end(self, reason: str, *, code: int = 1000) -> None:
        """End the session: close its connections with `code` and stop all work. Idempotent."""
        if self.ended is not None:
            return
        self.ended = reason
        self.audience.end(code, reason)
        self._expiry.cancel()
        self._disarm_idle()
        if self._playback is not None:
            self._playback.clear()
        self._audio_in.close()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
        self._on_end(reason)

    async def close(self) -> None:
        """End the session if need be, and wait until its work has stopped."""
        self.end("closed")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Effects

    def _apply(self, effects: Sequence[Effect], sender: Listener | None = None) -> None:
        for effect in effects:
            if self.ended is not None:
                return
            match effect:
                case Emit():
                    self.audience.emit(effect, sender)
                case InputAudio(audio=audio):
                    self._listen(self._audio_in.decode(audio))
                case DiscardInput():
                    self._audio_in.discard()
                case Hear(item_id=item_id):
                    self._start(self._hear(item_id, self._audio_in.take()))
                case Think(response_id=response_id):
                    task = self._start(self._answer(response_id))
                    self._thinking[response_id] = task
                    task.add_done_callback(lambda _, done=response_id: self._thinking.pop(done, None))
                case StopThinking(response_id=response_id):
                    if (running := self._thinking.get(response_id)) is not None:
                        running.cancel()
                case ClearPlayback():
                    if self._playback is not None:
                        self._playback.clear()
                case EndOfSpeech(response_id=response_id):
                    if self._playback is not None:
                        self._playback.complete(response_id)
                case ArmIdleTimer(milliseconds=milliseconds):
                    self._disarm_idle()
                    seconds = milliseconds / 1000 / self._options.speech_factor
                    self._idle = self._loop.call_later(seconds, self._idle_timed_out)
                case DisarmIdleTimer():
                    self._disarm_idle()
                case Reconfigured():
                    self._audio_in.reconfigure()
                case EndSession(close_code=code, reason=reason):
                    self.end(reason, code=code)
                case _:
                    assert_never(effect)

    # Work

    def _listen(self, pcm16: bytes) -> None:
        for edge in self._audio_in.feed(pcm16):
            if isinstance(edge, Started):
                self._apply(self.core.speech_started(edge.audio_ms, played_ms=self._played_ms()))
            else:
                self._audio_in.ended(Utterance(audio=edge.audio))
                self._apply(self.core.speech_stopped(edge.audio_ms))

    async def _hear(self, item_id: str, utterance: Utterance) -> None:
        text = utterance.text
        if utterance.audio:
            self.core.keep_audio(item_id, utterance.audio)
        if text is None:
            text = await self._ears.transcribe(utterance.audio) if self._ears is not None else ""
        self._apply(self.core.heard(item_id, text))
        if (late := self.faults.take("transcription_late")) is not None:
            await asyncio.sleep(late.ms / 1000)
        if (failure := self.faults.take("transcription_failed")) is not None:
            code, message = failure.code or "audio_unintelligible", failure.message
            self._apply(
                self.core.transcription_failed(
                    item_id, code=code, message=message or "The audio could not be transcribed."
                )
            )
        else:
            self._apply(self.core.transcribed(item_id, text))

    async def _answer(self, response_id: str) -> None:
        turn = self.core.turn(response_id)
        if turn is None:
            return
        if (failure := self.faults.take("response_failed")) is not None:
            code = failure.code or "rate_limit_exceeded"
            message = failure.message or "Rate limit reached. Please try again later."
            self._apply(self.core.failed(response_id, kind="rate_limit_error", code=code, message=message))
            return
        thoughts = self._mind.think(turn)
        try:
            async for thought in thoughts:
                match thought:
                    case Say(text=text):
                        await self._say(response_id, text)
                    case CallTool(name=name, arguments=arguments):
                        self._apply(self.core.called(response_id, name, arguments))
                    case _:
                        assert_never(thought)
        except MindError as error:
            self._apply(
                self.core.failed(response_id, kind="server_error", code=error.code, message=str(error))
            )
            return
        finally:
            await thoughts.aclose()
        self._apply(self.core.finished(response_id))

    async def _say(self, response_id: str, text: str) -> None:
        response = self.core.responses.get(response_id)
        if response is None:
            return
        for sentence in spoken_pieces(text) if response.audible else [text]:
            aloud, effects = self.core.said(response_id, sentence)
            self._apply(effects)
            if aloud.strip():
                async for chunk in self._voice.speak(aloud, self.core.configuration.speed):
                    self._spoke(response_id, chunk)

    def _spoke(self, response_id: str, chunk: SpokenChunk) -> None:
        response = self.core.responses.get(response_id)
        if response is None or self.ended is not None:
            return
        if self._playback is not None:
            self._apply(self.core.spoke(response_id, chunk.milliseconds, self._observed(chunk)))
            self._playback.enqueue(response_id, chunk.audio, chunk.milliseconds)
        else:
            audio = self._encoded(chunk, str(response.format.get("type")))
            self._apply(self.core.spoke(response_id, chunk.milliseconds, audio))

    def _observed(self, chunk: SpokenChunk) -> bytes | None:
        """What sidebands that want audio get of a call's output."""
        return self._encoded(chunk, "audio/pcm") if self._options.sideband_audio else None

    def _encoded(self, chunk: SpokenChunk, audio_format: str) -> bytes:
        pcm16 = chunk.audio if chunk.audio is not None else bytes(int(chunk.milliseconds) * BYTES_PER_MS)
        if audio_format not in ("audio/pcmu", "audio/pcma"):
            return pcm16
        encoder = self._encoders.get(audio_format)
        if encoder is None:
            encoder = self._encoders[audio_format] = FromPcm24k(audio_format)
        return encoder.feed(pcm16)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Work of a session failed; the session ends", exc_info=error)
            self.end("internal_error", code=1011)

    # Clock and playback

    def _played_ms(self) -> float:
        return self._playback.played_ms() if self._playback is not None else 0.0

    def _playback_started(self, response_id: str) -> None:
        self._apply(self.core.playback_started(response_id))

    def _playback_stopped(self, response_id: str) -> None:
        self._apply(self.core.playback_stopped(response_id))

    def _idle_timed_out(self) -> None:
        self._idle = None
        self._apply(self.core.idle_timed_out(self.audio_ms))

    def _disarm_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _expire(self) -> None:
        self._apply(self.core.expired(self._options.session_minutes))
