"""Change the sample rate of 16-bit mono PCM, live or at once."""

from __future__ import annotations

import numpy as np
import soxr

BYTES_PER_SAMPLE = 2


class StreamResampler:
    """Resamples one direction of one stream; it keeps the filter's state between chunks.

    Delay: about 6 ms (soxr's low-quality filter, meant for live speech).
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        """Rates in Hz, both above zero, else ValueError."""
        if from_rate <= 0 or to_rate <= 0:
            raise ValueError(f"sample rates must be above zero, got {from_rate} and {to_rate}")
        self.from_rate = from_rate
        self.to_rate = to_rate
        self._odd_byte = b""
        self._stream = (
            None
            if from_rate == to_rate
            else soxr.ResampleStream(from_rate, to_rate, 1, dtype="int16", quality="LQ")
        )

    def feed(self, pcm16: bytes, *, last: bool = False) -> bytes:
        """Take little-endian PCM16 mono of any length, return what is ready at the new rate.

        A half sample at the end waits for the next chunk. `last` flushes the filter; feed nothing after it.
        """
        data = self._odd_byte + pcm16
        whole = len(data) - len(data) % BYTES_PER_SAMPLE
        self._odd_byte = data[whole:]
        if self._stream is None:
            return data[:whole]
        samples = np.frombuffer(data[:whole], dtype=np.int16)
        return self._stream.resample_chunk(samples, last=last).tobytes()


def resample(pcm16: bytes, from_rate: float, to_rate: float) -> bytes:
    """Resample a whole PCM16 mono recording in high quality, without delay."""
    if from_rate == to_rate:
        return pcm16
    samples = np.frombuffer(pcm16, dtype=np.int16)
    return soxr.resample(samples, from_rate, to_rate, quality="HQ").astype(np.int16).tobytes()


def duration_ms(pcm16: bytes, rate: int) -> float:
    """Length of PCM16 mono audio in milliseconds."""
    return len(pcm16) / BYTES_PER_SAMPLE / rate * 1000
