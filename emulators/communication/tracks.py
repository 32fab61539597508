"""Recordings of what was said and heard, and WAV files of them."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence

from emulators.communication.frames import FRAME_MS, RATE, SAMPLE_BYTES, SILENCE, mixed


class Track:
    """One direction of one participant's sound, frame by frame; silence takes no space.

    Keeps `minutes` from its beginning on; `truncated` tells that there was more.
    """

    def __init__(self, minutes: float) -> None:
        self._limit = int(minutes * 60_000 / FRAME_MS)
        self._frames: list[bytes | None] = []
        self.truncated = False

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def milliseconds(self) -> int:
        return len(self._frames) * FRAME_MS

    def add(self, frame: bytes | None) -> None:
        """Append 20 ms."""
        if len(self._frames) < self._limit:
            self._frames.append(frame)
        else:
            self.truncated = True

    def start_at(self, frames: int) -> None:
        """Begin with silence, so that a participant who came later lines up with the call."""
        self._frames = [None] * min(frames, self._limit)

    def frames(self, start: int = 0, end: int | None = None) -> list[bytes | None]:
        """Return the frames from `start` up to `end`."""
        return self._frames[start:end]

    def pcm16(self) -> bytes:
        """Return all of it as PCM16 mono at 24 kHz."""
        return joined(self._frames)


def joined(frames: Sequence[bytes | None]) -> bytes:
    """Return the frames as one piece of PCM16 mono."""
    return b"".join(SILENCE if frame is None else frame for frame in frames)


def mixed_down(tracks: Sequence[Sequence[bytes | None]]) -> list[bytes | None]:
    """Return the sum of several tracks of any lengths."""
    longest = max((len(track) for track in tracks), default=0)
    return [mixed([track[index] for track in tracks if index < len(track)]) for index in range(longest)]


def mono_wav(pcm16: bytes) -> bytes:
    """Return PCM16 mono at 24 kHz as a WAV file."""
    return _wav(pcm16, channels=1)


def stereo_wav(left: Sequence[bytes | None], right: Sequence[bytes | None]) -> bytes:
    """Return two tracks as a WAV file with one on each side."""
    longest = max(len(left), len(right))
    sides = [joined([*side, *[None] * (longest - len(side))]) for side in (left, right)]
    both = bytearray(2 * len(sides[0]))
    for channel, side in enumerate(sides):
        for byte in range(SAMPLE_BYTES):
            both[channel * SAMPLE_BYTES + byte :: 2 * SAMPLE_BYTES] = side[byte::SAMPLE_BYTES]
    return _wav(bytes(both), channels=2)


def _wav(pcm16: bytes, *, channels: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(RATE)
        file.writeframes(pcm16)
    return buffer.getvalue()
