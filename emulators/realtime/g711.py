"""G.711 µ-law and A-law at 8 kHz, to and from PCM16 at 24 kHz.

Source: ITU-T G.711. Tables are built once; both directions are look-ups.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emulators.speech.resampling import StreamResampler

Law = Literal["audio/pcmu", "audio/pcma"]


class ToPcm24k:
    """Decodes one stream of G.711 bytes to PCM16 at 24 kHz."""

    def __init__(self, law: Law) -> None:
        self.law: Law = law
        self._resampler = StreamResampler(8_000, 24_000)

    def feed(self, encoded: bytes) -> bytes:
        return self._resampler.feed(to_pcm16(self.law, encoded))


class FromPcm24k:
    """Encodes one stream of PCM16 at 24 kHz to G.711 bytes."""

    def __init__(self, law: Law) -> None:
        self.law: Law = law
        self._resampler = StreamResampler(24_000, 8_000)

    def feed(self, pcm16: bytes) -> bytes:
        samples = np.frombuffer(self._resampler.feed(pcm16), dtype=np.int16)
        return _encoding(self.law)[samples.astype(np.int32) + 32_768].tobytes()


def to_pcm16(law: Law, encoded: bytes) -> bytes:
    """Return G.711 bytes as PCM16 of the same 8 kHz."""
    return _decoding(law)[np.frombuffer(encoded, dtype=np.uint8)].tobytes()


@cache
def _decoding(law: Law) -> NDArray[np.int16]:
    codes = np.arange(256, dtype=np.int32)
    if law == "audio/pcmu":
        inverted = ~codes & 0xFF
        magnitude = (((inverted & 0x0F) << 3) + 0x84) << ((inverted >> 4) & 7)
        values = np.where(inverted & 0x80, 0x84 - magnitude, magnitude - 0x84)
    else:
        toggled = codes ^ 0x55
        exponent, mantissa = (toggled >> 4) & 7, (toggled & 0x0F) << 4
        magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
        values = np.where(toggled & 0x80, magnitude, -magnitude)
    return values.astype(np.int16)


@cache
def _encoding(law: Law) -> NDArray[np.uint8]:
    decoded = _decoding(law).astype(np.int32)
    order = np.argsort(decoded, kind="stable")
    levels = decoded[order]
    samples = np.arange(-32_768, 32_768, dtype=np.int32)
    above = np.clip(np.searchsorted(levels, samples), 1, 255)
    nearer_below = samples - levels[above - 1] <= levels[above] - samples
    return order[np.where(nearer_below, above - 1, above)].astype(np.uint8)
