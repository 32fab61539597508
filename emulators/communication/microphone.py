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
    """Something to say. `words` are what it says, where that is known; `said` is set at its end.

    With a `length` (in bytes) the audio is repeated, or cut, to that: a long tone takes no more space than a
    short one.
    """

    pcm16: bytes
    words: str | None = None
    length: int = 0
    position: int = 0
    said: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.length = self.length or len(self.pcm16)

    def next_frame(self) -> bytes:
        """Return the next 20 ms."""
        begin = self.position % len(self.pcm16)
        self.position += FRAME_BYTES
        beyond = max(0, self.position - self.length)
        return padded(self.pcm16[begin : begin + FRAME_BYTES - beyond])

    @property
    def over(self) -> bool:
        return self.position >= self.length


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
        frame = utterance.next_frame()
        if not utterance.over:
            return frame, None
        self._waiting.popleft()
        utterance.said.set()
        return frame, utterance


def tone(milliseconds: float, hertz: float = 440.0) -> bytes:
    """Return a tone as PCM16 mono at 24 kHz: speech for those who need none."""
    second = _second(round(hertz))
    size = _size(milliseconds)
    return (second * (size // len(second) + 1))[:size]


def spoken_tone(milliseconds: float, hertz: float = 440.0, words: str | None = None) -> Utterance:
    """Return a tone to be said; `words` are what it stands for."""
    return Utterance(_second(round(hertz)), words, _size(milliseconds))


def _size(milliseconds: float) -> int:
    return int(milliseconds * RATE / 1000) * SAMPLE_BYTES


@cache
def _second(hertz: int) -> bytes:
    """Return a second of a tone: whole frames, and whole periods, so that it can be repeated."""
    step = 2 * math.pi * hertz / RATE
    samples = (int(_TONE_HEIGHT * math.sin(step * n)) for n in range(RATE))
    return b"".join(sample.to_bytes(SAMPLE_BYTES, "little", signed=True) for sample in samples)
