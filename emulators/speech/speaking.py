"""Text to speech, sentence by sentence, the same audio for the same text every time.

The voice is Piper's en_US-joe-medium. Where its packages are missing, eSpeak NG speaks instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from emulators.speech.resampling import BYTES_PER_SAMPLE, resample
from emulators.speech.sentences import spoken_pieces
from emulators.speech.weights import WeightsMissingError

logger = logging.getLogger(__name__)

PAUSE_MS = 120
"""Silence after each sentence, for the voice ends one without."""

_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="text-to-speech")


@dataclass(frozen=True, kw_only=True)
class Voice:
    """How the one voice sounds: `speed` of speech and `pitch`, both as factors (0.5 to 2.0)."""

    speed: float = 1.0
    pitch: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("speed", self.speed), ("pitch", self.pitch)):
            if not 0.5 <= value <= 2.0:
                raise ValueError(f"{name} must lie between 0.5 and 2.0, got {value}")


AGENT_VOICE = Voice()
CALLER_VOICE = Voice(pitch=1.12, speed=0.95)


class SpeechEngine(Protocol):
    """Turns one piece of text into PCM16 mono."""

    def speak(self, text: str, speed: float) -> tuple[bytes, int]:
        """Return (PCM16 mono, its rate in Hz)."""
        ...


async def synthesise(
    text: str, rate: int = 24_000, *, voice: Voice = AGENT_VOICE
) -> AsyncGenerator[bytes, None]:
    """Yield PCM16 mono at `rate` Hz, one chunk a sentence; the first sentence comes in two when it is long.

    A sentence is synthesised when the consumer asks for it. Closing the generator or cancelling its consumer
    stops after the sentence in work. Raises WeightsMismatchError where the voice model is not the pinned one,
    and WeightsMissingError where no voice at all is installed.
    """
    loop = asyncio.get_running_loop()
    for piece in spoken_pieces(text):
        yield await loop.run_in_executor(_worker, _speak, piece, rate, voice)


async def synthesise_all(text: str, rate: int = 24_000, *, voice: Voice = AGENT_VOICE) -> bytes:
    """Return the whole of `text` as PCM16 mono at `rate` Hz."""
    return b"".join([chunk async for chunk in synthesise(text, rate, voice=voice)])


async def warm_up() -> None:
    """Load the voice (1 to 3 s) and speak a word, so that the first sentence is not slower than others."""
    await synthesise_all("Ready.")


def _speak(text: str, rate: int, voice: Voice) -> bytes:
    # Played back at a higher rate, a voice is higher and faster: the engine speaks slower by as much.
    pcm16, engine_rate = _engine().speak(text, voice.speed / voice.pitch)
    ends_sentence = text[-1] in ".!?"
    pause = bytes(PAUSE_MS * rate // 1000 * BYTES_PER_SAMPLE if ends_sentence else 0)
    return resample(pcm16, engine_rate * voice.pitch, rate) + pause


@cache
def _engine() -> SpeechEngine:
    try:
        from emulators.speech.piper_voice import PiperEngine

        return PiperEngine()
    except (ImportError, WeightsMissingError) as problem:
        from emulators.speech.espeak_voice import EspeakEngine

        engine = EspeakEngine()
        logger.warning(
            "Piper voice not installed: speaking with eSpeak NG, which sounds robotic and is understood less "
            "well; run `make setup` to get it",
            extra={"reason": str(problem)},
        )
        return engine
