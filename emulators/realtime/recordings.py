"""Recorded speech that a test hands in: WAV to PCM16 mono at 24 kHz."""

from __future__ import annotations

import io
import wave

import numpy as np

from emulators.realtime.speech_set import RATE
from emulators.realtime.wire import RejectedError
from emulators.speech.resampling import resample


def read_wav(data: bytes) -> bytes:
    """Return a 16-bit PCM WAV of any rate and channel count; raises RejectedError for anything else."""
    try:
        with wave.open(io.BytesIO(data)) as recording:
            width, channels, rate = (
                recording.getsampwidth(),
                recording.getnchannels(),
                recording.getframerate(),
            )
            frames = recording.readframes(recording.getnframes())
    except (wave.Error, EOFError) as error:
        raise RejectedError("invalid_value", f"The body is not a WAV recording: {error}.") from None
    if width != 2 or not frames:
        raise RejectedError("invalid_value", "The recording must be 16-bit PCM and not empty.")
    samples = np.frombuffer(frames, dtype=np.int16)
    mono = samples[: samples.size - samples.size % channels].reshape(-1, channels).mean(axis=1)
    return resample(mono.astype(np.int16).tobytes(), rate, RATE)
