"""What the application sends to the caller: queued, played in real time, dropped by StopAudio."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from emulators.communication.frames import BYTES_PER_MS, FRAME_BYTES, RATE, padded
from emulators.communication.wire import Json

LONGEST_QUEUE_MS = 600_000
_PATIENCE_FRAMES = 2


class Resampler(Protocol):
    """Turns one rate into another, keeping its state from chunk to chunk."""

    def feed(self, pcm16: bytes) -> bytes: ...


class PlaybackQueue:
    """A queue of PCM16 mono that comes in at `rate` and is played at 24 kHz, 20 ms at a time.

    It holds ten minutes; what comes beyond is lost and counted. Less than a frame waits a little for the
    rest: an application that sends as fast as it plays, in pieces of any size, is heard without gaps.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._chunks: deque[bytes] = deque()
        self._taken = 0
        self._queued = 0
        self._half_sample = b""
        self._waited = 0
        self._resampler = _resampler(rate)
        self.received_ms = 0.0
        self.played_ms = 0
        self.dropped_ms = 0.0
        self.overflow_ms = 0.0
        self.stops = 0

    @property
    def queued_ms(self) -> float:
        """How much waits to be played."""
        return self._queued / BYTES_PER_MS

    def write(self, pcm16: bytes) -> None:
        """Queue audio of any length."""
        self.received_ms += len(pcm16) * 1000 / (self._rate * 2)
        if self._resampler is not None:
            pcm16 = self._resampler.feed(pcm16)
        elif len(self._half_sample) + len(pcm16) & 1:
            pcm16, self._half_sample = (self._half_sample + pcm16)[:-1], pcm16[-1:]
        elif self._half_sample:
            pcm16, self._half_sample = self._half_sample + pcm16, b""
        if not pcm16:
            return
        if self.queued_ms + len(pcm16) / BYTES_PER_MS > LONGEST_QUEUE_MS:
            self.overflow_ms += len(pcm16) / BYTES_PER_MS
            return
        self._chunks.append(pcm16)
        self._queued += len(pcm16)

    def next_frame(self) -> bytes | None:
        """Return the next 20 ms, padded at the end of what came; None when there is nothing to play."""
        if not self._chunks:
            return None
        if self._queued < FRAME_BYTES and self._waited < _PATIENCE_FRAMES:
            self._waited += 1
            return None
        self._waited = 0
        self.played_ms += min(FRAME_BYTES, self._queued) // BYTES_PER_MS
        first = self._chunks[0]
        end = self._taken + FRAME_BYTES
        if end < len(first):
            frame = first[self._taken : end]
            self._taken = end
            self._queued -= FRAME_BYTES
            return frame
        frame = first[self._taken :]
        self._chunks.popleft()
        self._taken = 0
        while len(frame) < FRAME_BYTES and self._chunks:
            missing = FRAME_BYTES - len(frame)
            chunk = self._chunks.popleft()
            frame += chunk[:missing]
            if len(chunk) > missing:
                self._chunks.appendleft(chunk[missing:])
        self._queued -= len(frame)
        return padded(frame)

    def stop(self) -> float:
        """Drop what waits (StopAudio); return how many milliseconds were dropped."""
        dropped = self.queued_ms
        self._chunks.clear()
        self._taken = 0
        self._queued = 0
        self._half_sample = b""
        self._resampler = _resampler(self._rate)
        self.dropped_ms += dropped
        self.stops += 1
        return dropped

    def shown(self) -> Json:
        """Return the counters, in milliseconds of audio."""
        return {
            "received_ms": round(self.received_ms, 1),
            "played_ms": self.played_ms,
            "queued_ms": round(self.queued_ms, 1),
            "dropped_ms": round(self.dropped_ms, 1),
            "overflow_ms": round(self.overflow_ms, 1),
            "stops": self.stops,
        }


def _resampler(rate: int) -> Resampler | None:
    if rate == RATE:
        return None
    from emulators.speech.resampling import StreamResampler

    return StreamResampler(rate, RATE)
