"""20 ms of sound inside the emulator: PCM16 mono at 24 kHz; None stands for silence."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence

RATE = 24_000
SAMPLE_BYTES = 2
FRAME_MS = 20
FRAME_BYTES = RATE * SAMPLE_BYTES * FRAME_MS // 1000
BYTES_PER_MS = RATE * SAMPLE_BYTES // 1000
SILENCE = bytes(FRAME_BYTES)
_AUDIBLE = 400
"""A sample above this is sound: about -38 dBFS, well above what resampling leaves of silence."""


def padded(frame: bytes) -> bytes:
    """Return the frame, with silence after it where it is short."""
    return frame if len(frame) == FRAME_BYTES else frame + bytes(FRAME_BYTES - len(frame))


def audible(frame: bytes | None) -> bool:
    """Whether there is sound in a frame."""
    if frame is None:
        return False
    samples = _samples(frame)
    return max(samples) > _AUDIBLE or min(samples) < -_AUDIBLE


def mixed(frames: Sequence[bytes | None]) -> bytes | None:
    """Return the sum of the frames, clipped."""
    sounds = [frame for frame in frames if frame is not None]
    if len(sounds) < 2:
        return sounds[0] if sounds else None
    columns = zip(*map(_samples, sounds), strict=True)
    total = array("h", [max(-32768, min(32767, sum(column))) for column in columns])
    if sys.byteorder == "big":
        total.byteswap()
    return total.tobytes()


def _samples(frame: bytes) -> array[int]:
    samples = array("h", frame)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples
