"""Words as sound, and sound as words: by the offline speech of `emulators.speech`, or tones in its place."""

from __future__ import annotations

import io
import re
import wave

from emulators.communication.frames import RATE
from emulators.communication.microphone import tone
from emulators.communication.wire import RejectedError, invalid

_CHARACTERS_PER_SECOND = 15
_TAG = re.compile(r"<[^>]*>")
BEEP_HERTZ = 1000.0
BEEP_MS = 500.0


class Voice:
    """Speaks for callers, prompts and answering machines."""

    def __init__(self, *, speech: bool) -> None:
        self.speech = speech

    async def caller(self, text: str) -> bytes:
        """Return what a caller says; raises RejectedError (409) without speech."""
        if not self.speech:
            raise RejectedError(
                409,
                "NoSpeech",
                "Text needs the speech models: start without --no-speech, send a WAV, or say it as a tone: "
                '{"text": "…", "tone_ms": 1500}.',
            )
        from emulators.speech import speaking

        return await speaking.synthesise_all(text, RATE, voice=speaking.CALLER_VOICE)

    async def prompt(self, text: str) -> bytes:
        """Return what the service says; without speech, a tone as long as the words would take."""
        words = _TAG.sub(" ", text).strip()
        if not self.speech:
            return tone(max(200.0, len(words) * 1000 / _CHARACTERS_PER_SECOND))
        from emulators.speech import speaking

        return await speaking.synthesise_all(words, RATE)

    async def transcript(self, pcm16: bytes) -> str:
        """Return the words in a recording; raises RejectedError (409) without speech."""
        if not self.speech:
            raise RejectedError(
                409, "NoSpeech", "Transcripts need the speech models: start without --no-speech."
            )
        from emulators.speech import hearing

        return await hearing.transcribe_recording(pcm16, RATE)


async def warm_up() -> None:
    """Load the voice, so that the first words are as quick as the others."""
    from emulators.speech import speaking

    await speaking.warm_up()


def read_wav(data: bytes) -> bytes:
    """Return a 16-bit PCM WAV of any rate and channel count as PCM16 mono at 24 kHz; RejectedError (400)."""
    try:
        with wave.open(io.BytesIO(data)) as recording:
            width, channels = recording.getsampwidth(), recording.getnchannels()
            rate = recording.getframerate()
            frames = recording.readframes(recording.getnframes())
    except (wave.Error, EOFError) as error:
        raise invalid(f"That is not a WAV recording: {error}.") from None
    if width != 2 or not frames:
        raise invalid("The recording must be 16-bit PCM and not empty.")
    if channels == 1 and rate == RATE:
        return frames
    import numpy as np

    from emulators.speech.resampling import resample

    samples = np.frombuffer(frames, dtype=np.int16)
    mono = samples[: samples.size - samples.size % channels].reshape(-1, channels).mean(axis=1)
    return resample(mono.astype(np.int16).tobytes(), rate, RATE)
