"""Speech to text: Moonshine tiny-en, in one worker thread that all streams share.

The engine's own voice activity is switched off, for it turns a little silence before the speech into words;
cut utterances with `voice_activity` instead.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from moonshine_voice.moonshine_api import ModelArch
from moonshine_voice.transcriber import Transcriber

from emulators.speech.resampling import BYTES_PER_SAMPLE, resample
from emulators.speech.voice_activity import SpeechStopped, VoiceActivityDetector
from emulators.speech.weights import MOONSHINE_TINY, verified_files

MODEL_RATE = 16_000
SHORTEST_SPEECH_MS = 100
"""Less than a syllable: the model would only guess."""
_PAUSE_BETWEEN_UTTERANCES_MS = 400

_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speech-to-text")


async def transcribe(pcm16: bytes, rate: int) -> str:
    """Return the English words in one utterance of PCM16 mono at `rate` Hz; "" where there are none.

    Takes about a twentieth of the audio's length, after the model is loaded (1 s, see `warm_up`). Utterances
    queue for the one worker. Raises WeightsMissingError or WeightsMismatchError where the model is not in
    order, ValueError where `rate` is not above zero.
    """
    return await asyncio.get_running_loop().run_in_executor(_worker, _transcribe, pcm16, rate)


async def transcribe_recording(pcm16: bytes, rate: int) -> str:
    """Return the words in a longer recording: its utterances are found first and transcribed one by one.

    PCM16 mono at `rate` Hz, a multiple of 1000. Errors as with `transcribe`.
    """
    utterances = await asyncio.to_thread(_utterances, pcm16, rate)
    texts = [await transcribe(utterance, rate) for utterance in utterances]
    return " ".join(text for text in texts if text)


async def warm_up() -> None:
    """Load the model and run it once, so that the first utterance is not slower than others."""
    await transcribe(bytes(MODEL_RATE * BYTES_PER_SAMPLE), MODEL_RATE)


def _utterances(pcm16: bytes, rate: int) -> list[bytes]:
    detector = VoiceActivityDetector(rate=rate, silence_duration_ms=_PAUSE_BETWEEN_UTTERANCES_MS)
    try:
        trailing_silence = bytes(2 * _PAUSE_BETWEEN_UTTERANCES_MS * rate // 1000 * BYTES_PER_SAMPLE)
        events = detector.feed(pcm16 + trailing_silence)
    finally:
        detector.close()
    return [event.audio for event in events if isinstance(event, SpeechStopped)]


@cache
def _engine() -> Transcriber:
    model_files = verified_files(MOONSHINE_TINY)
    return Transcriber(
        model_files[0].parent,
        ModelArch.TINY,
        options={"vad_threshold": "0.0", "return_audio_data": "false"},
    )


def _transcribe(pcm16: bytes, rate: int) -> str:
    if rate <= 0:
        raise ValueError(f"the sample rate must be above zero, got {rate}")
    if len(pcm16) < SHORTEST_SPEECH_MS * rate // 1000 * BYTES_PER_SAMPLE:
        return ""
    whole = pcm16[: len(pcm16) - len(pcm16) % BYTES_PER_SAMPLE]
    samples = np.frombuffer(resample(whole, rate, MODEL_RATE), dtype=np.int16).astype(np.float32) / 32768.0
    transcript = _engine().transcribe_without_streaming(samples.tolist(), MODEL_RATE)
    # Music notes and lone punctuation are how the model writes that it heard no words.
    return " ".join(line.text.strip() for line in transcript.lines if any(map(str.isalnum, line.text)))
