"""Ears and voice behind small protocols: real ones, and silent ones for tests and load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

RATE = 24_000
BYTES_PER_MS = RATE * 2 // 1000
_CHARACTERS_PER_SECOND = 15
_SILENT_CHUNK_MS = 400.0
_SPOKEN_CHUNK_MS = 200


@dataclass(frozen=True, slots=True)
class SpokenChunk:
    """`milliseconds` of PCM16 mono at 24 kHz; `audio` None stands for silence of that length."""

    milliseconds: float
    audio: bytes | None


class VoiceEdge(Protocol):
    """Where speech starts or stops, in milliseconds of the stream."""

    @property
    def audio_ms(self) -> int: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """Speech starts here."""

    audio_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """Speech stops here; `audio` is the utterance as PCM16 mono at 24 kHz."""

    audio_ms: int
    audio: bytes


class VoiceActivity(Protocol):
    """Finds speech in one stream of PCM16 mono at 24 kHz."""

    def configure(self, *, threshold: float, prefix_padding_ms: int, silence_duration_ms: int) -> None: ...

    def feed(self, pcm16: bytes) -> list[Started | Stopped]: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


class Ears(Protocol):
    """Speech to text, and the start and end of speech."""

    def listen(self) -> VoiceActivity:
        """Return a detector for one new stream."""
        ...

    async def transcribe(self, pcm16: bytes) -> str:
        """Return what is said in an utterance of PCM16 mono at 24 kHz."""
        ...


class Voice(Protocol):
    """Text to speech."""

    def speak(self, text: str, speed: float) -> AsyncGenerator[SpokenChunk, None]:
        """Speak one sentence, chunk by chunk, at `speed` (1.0 is ordinary)."""
        ...


class SilentVoice:
    """Makes silence as long as the text would take, at `generation_speed` times the speed of speech."""

    def __init__(self, generation_speed: float) -> None:
        self._generation_speed = generation_speed

    async def speak(self, text: str, speed: float) -> AsyncGenerator[SpokenChunk, None]:
        left = spoken_ms(text) / speed
        while left > 0:
            chunk = min(left, _SILENT_CHUNK_MS)
            await asyncio.sleep(chunk / 1000 / self._generation_speed)
            yield SpokenChunk(chunk, None)
            left -= chunk


def spoken_ms(text: str) -> float:
    """Return how long `text` takes to say at an ordinary pace, in milliseconds."""
    return max(200.0, len(text) * 1000 / _CHARACTERS_PER_SECOND)


class SpeechVoice:
    """The text to speech of `emulators.speech`."""

    async def speak(self, text: str, speed: float) -> AsyncGenerator[SpokenChunk, None]:
        from emulators.speech import speaking

        voice = speaking.Voice(speed=max(0.5, speed))
        async for sentence in speaking.synthesise(text, RATE, voice=voice):
            step = _SPOKEN_CHUNK_MS * BYTES_PER_MS
            for start in range(0, len(sentence), step):
                piece = sentence[start : start + step]
                yield SpokenChunk(len(piece) / BYTES_PER_MS, piece)


class SpeechEars:
    """The voice activity and speech to text of `emulators.speech`."""

    def listen(self) -> VoiceActivity:
        return _Detector()

    async def transcribe(self, pcm16: bytes) -> str:
        from emulators.speech.hearing import transcribe

        return await transcribe(pcm16, RATE)


class _Detector:
    def __init__(self) -> None:
        from emulators.speech.voice_activity import SpeechStarted, VoiceActivityDetector

        self._started = SpeechStarted
        self._detector = VoiceActivityDetector(rate=RATE)

    def configure(self, *, threshold: float, prefix_padding_ms: int, silence_duration_ms: int) -> None:
        self._detector.configure(
            threshold=threshold,
            prefix_padding_ms=prefix_padding_ms,
            silence_duration_ms=silence_duration_ms,
        )

    def feed(self, pcm16: bytes) -> list[Started | Stopped]:
        return [
            Started(audio_ms=event.audio_ms)
            if isinstance(event, self._started)
            else Stopped(audio_ms=event.audio_ms, audio=event.audio)
            for event in self._detector.feed(pcm16)
        ]

    def reset(self) -> None:
        self._detector.reset()

    def close(self) -> None:
        self._detector.close()


async def warm_up() -> None:
    """Load every model, so that the first call is as quick as the others."""
    from emulators.speech import hearing, speaking, voice_activity

    await asyncio.gather(hearing.warm_up(), speaking.warm_up(), voice_activity.warm_up(2))
