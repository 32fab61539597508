"""Read a caller's own recordings, and write what was heard."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import av.error
import numpy as np

from emulators.webrtc_audio import SPEECH_RATE

LONGEST_RECORDING_S = 300


class RecordingError(ValueError):
    """A recording can't be used; the message names the file and says what to do."""

    code = "recording_unusable"


def read_recording(path: Path) -> bytes:
    """Return a WAV file of any sample rate, channel count and PCM width as PCM16 mono at 24 kHz.

    Raises RecordingError where the file is missing, not audio, empty or longer than five minutes.
    """
    if not path.is_file():
        raise RecordingError(f"{path}: there is no such file; give the path of a WAV file")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SPEECH_RATE)
    pcm16 = bytearray()
    try:
        with av.open(str(path), format="wav") as container:
            if not container.streams.audio:
                raise RecordingError(f"{path}: holds no audio; give a WAV file with speech in it")
            for frame in container.decode(container.streams.audio[0]):
                for resampled in resampler.resample(frame):
                    pcm16 += resampled.to_ndarray().astype(np.int16).tobytes()
                if len(pcm16) > LONGEST_RECORDING_S * SPEECH_RATE * 2:
                    raise RecordingError(f"{path}: is longer than {LONGEST_RECORDING_S} s; cut it into turns")
            for resampled in resampler.resample(None):
                pcm16 += resampled.to_ndarray().astype(np.int16).tobytes()
    except (av.error.FFmpegError, OSError) as problem:
        raise RecordingError(
            f"{path}: can't be read as WAV ({problem}); convert it, for example with "
            f"`ffmpeg -i {path.name} -c:a pcm_s16le converted.wav`"
        ) from problem
    if not pcm16:
        raise RecordingError(f"{path}: holds no audio; give a WAV file with speech in it")
    return bytes(pcm16)


def write_recording(path: Path, pcm16: bytes, rate: int = SPEECH_RATE) -> None:
    """Write PCM16 mono as a WAV file, replacing the file; OSError where that fails."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm16)
