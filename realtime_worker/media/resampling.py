"""Audio between a carrier's sample rate and the session's, as base64 on both sides.

Source: soxr's streaming resampler; its low-quality filter is meant for live speech and delays by about 6 ms.
"""

from __future__ import annotations

import base64

import numpy as np
import soxr

from realtime_worker.media.framing import SESSION_RATE


class SessionResampler:
    """Both directions of one connection. Filters keep their state from piece to piece."""

    def __init__(self, carrier_rate: int) -> None:
        """carrier_rate: in Hz."""
        self._rate = carrier_rate
        self._heard = _Direction(carrier_rate, SESSION_RATE)
        self._played = _Direction(SESSION_RATE, carrier_rate)

    def to_session(self, audio: bytes) -> bytes:
        """Return what the carrier sent at the session's rate, b"" while the filter fills."""
        return self._heard.convert(audio)

    def to_carrier(self, audio: bytes) -> bytes:
        """Return what the session said at the carrier's rate, b"" while the filter fills."""
        return self._played.convert(audio)

    def forget_played(self) -> None:
        """What was said is cut off; what follows has nothing to do with it."""
        self._played = _Direction(SESSION_RATE, self._rate)


class _Direction:
    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="int16", quality="LQ")
        self._half_sample = b""

    def convert(self, audio: bytes) -> bytes:
        pcm16 = self._half_sample + base64.b64decode(audio)
        whole = len(pcm16) & ~1
        self._half_sample = pcm16[whole:]
        samples = np.frombuffer(pcm16[:whole], dtype="<i2")
        return base64.b64encode(self._stream.resample_chunk(samples).astype("<i2", copy=False).tobytes())
