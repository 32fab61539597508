"""20 ms at 24 kHz into 20 ms at another rate, frame for frame."""

from __future__ import annotations

from emulators.communication.frames import FRAME_MS, RATE, SAMPLE_BYTES, SILENCE

_RINGING_FRAMES = 3
"""For so long a sound still comes out of the filter and the buffer after its end."""


class FrameResampler:
    """Resamples one voice. One frame of delay makes up for the uneven pieces that a resampler gives."""

    def __init__(self, rate: int) -> None:
        from emulators.speech.resampling import StreamResampler

        self._resampler = StreamResampler(RATE, rate)
        self._size = rate * SAMPLE_BYTES * FRAME_MS // 1000
        self._ready = bytes(self._size)
        self._quiet_frames = 0

    def feed(self, frame: bytes | None) -> bytes | None:
        """Take 20 ms (None: silence); return 20 ms, or None for silence."""
        self._quiet_frames = 0 if frame is not None else self._quiet_frames + 1
        if self._quiet_frames > _RINGING_FRAMES:
            return None
        self._ready += self._resampler.feed(SILENCE if frame is None else frame)
        out, self._ready = self._ready[: self._size], self._ready[self._size :]
        return out + bytes(self._size - len(out))
