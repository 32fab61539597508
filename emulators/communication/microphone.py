"""What one person on the phone says: recordings one after the other, 20 ms at a time."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from functools import cache

from emulators.communication.frames import FRAME_BYTES, RATE, SAMPLE_BYTES, padded

_TONE_HEIGHT = 8000


@dataclass(slots=True)
class Utterance:
    """Something to say. `words` are what it says, where that is known; `said` is set at its end."""

    pcm16: bytes
    words: str | None = None
    position: int = 0
    said: asyncio.Event = field(default_factory=asyncio.Event)


class Microphone:
    """Holds what is still to be said (PCM16 mono at 24 kHz)."""

    def __init__(self) -> None:
        self._waiting: deque[Utterance] = deque()

    @property
    def speaking(self) -> bool:
        return bool(self._waiting)

    def say(self, utterance: Utterance) -> None:
        """Say it after what is being said."""
        self._waiting.append(utterance)

    def hush(self) -> None:
        """Break off everything; whoever waits for its end is told."""
        for utterance in self._waiting:
            utterance.said.set()
        self._waiting.clear()

    def next_frame(self) -> tuple[bytes | None, Utterance | None]:
        """Return 20 ms (None: silence), and the utterance that ends with them."""
        if not self._waiting:
            return None, None
        utterance = self._waiting[0]
        frame = utterance.pcm16[utterance.position : utterance.position + FRAME_BYTES]
        utterance.position += FRAME_BYTES
        ended = None
        if utterance.position >= len(utterance.pcm16):
            ended = self._waiting.popleft()
            ended.said.set()
        return padded(frame), ended


def tone(milliseconds: float, hertz: float = 440.0) -> bytes:
    """Return a tone as PCM16 mono at 24 kHz: speech for those who need none."""
    second = _second(round(hertz))
    size = int(milliseconds * RATE / 1000) * SAMPLE_BYTES
    return (second * (size // len(second) + 1))[:size]


@cache
def _second(hertz: int) -> bytes:
    step = 2 * math.pi * hertz / RATE
    samples = (int(_TONE_HEIGHT * math.sin(step * n)) for n in range(RATE))
    return b"".join(sample.to_bytes(SAMPLE_BYTES, "little", signed=True) for sample in samples)
