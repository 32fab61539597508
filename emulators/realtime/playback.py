"""Output audio on its way to the caller: what was heard of which response, and when it starts and stops."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class AudioSink(Protocol):
    """Where output audio goes. Times are milliseconds of audio, counted since the session began."""

    @property
    def speed(self) -> float:
        """How many milliseconds of audio pass in one millisecond."""
        ...

    def write(self, audio: bytes | None, milliseconds: float) -> None:
        """Play `milliseconds` of PCM16 mono at 24 kHz (None: nobody listens to this sink's audio)."""
        ...

    def clear(self) -> None:
        """Drop what is written and not yet consumed."""
        ...

    def consumed_ms(self) -> float:
        """How much was played so far."""
        ...


class VirtualSink:
    """Plays nothing, at the speed of speech times `speed`: for calls whose media nobody hears."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._loop = asyncio.get_running_loop()
        self._consumed = 0.0
        self._queued = 0.0
        self._at = self._loop.time()

    @property
    def speed(self) -> float:
        return self._speed

    def write(self, audio: bytes | None, milliseconds: float) -> None:
        self._advance()
        self._queued += milliseconds

    def clear(self) -> None:
        self._advance()
        self._queued = 0.0

    def consumed_ms(self) -> float:
        self._advance()
        return self._consumed

    def _advance(self) -> None:
        now = self._loop.time()
        played = min(self._queued, (now - self._at) * 1000 * self._speed)
        self._consumed += played
        self._queued -= played
        self._at = now


@dataclass(kw_only=True, slots=True)
class _Stretch:
    response_id: str
    begin_ms: float
    end_ms: float
    complete: bool = False
    started: bool = False


class Playback:
    """Follows responses through a sink, one after the other.

    `on_started` and `on_stopped` are called with the response id, never from inside a method of this class.
    """

    # A wake-up that comes a little early looks again after this long.
    _RECHECK_S = 0.005

    def __init__(
        self, sink: AudioSink, *, on_started: Callable[[str], None], on_stopped: Callable[[str], None]
    ) -> None:
        self._sink = sink
        self._on_started = on_started
        self._on_stopped = on_stopped
        self._loop = asyncio.get_running_loop()
        self._stretches: deque[_Stretch] = deque()
        self._written = sink.consumed_ms()
        self._wake: asyncio.Handle | None = None

    def enqueue(self, response_id: str, audio: bytes | None, milliseconds: float) -> None:
        """Play more audio of a response, behind everything that is queued."""
        self._sink.write(audio, milliseconds)
        # After an underrun the sink has consumed all that was written, no more.
        if not self._stretches or self._stretches[-1].response_id != response_id:
            stretch = _Stretch(response_id=response_id, begin_ms=self._written, end_ms=self._written)
            self._stretches.append(stretch)
        self._written += milliseconds
        self._stretches[-1].end_ms = self._written
        self._wake_in(0)

    def complete(self, response_id: str) -> None:
        """No more audio of this response will come."""
        for stretch in self._stretches:
            if stretch.response_id == response_id:
                stretch.complete = True
                self._wake_in(0)

    def clear(self) -> None:
        """Drop everything unheard; no `on_stopped` follows for it."""
        self._sink.clear()
        self._written = self._sink.consumed_ms()
        self._stretches.clear()
        self.close()

    def played_ms(self) -> float:
        """How much of the response being played was heard; 0 when none is."""
        if not self._stretches or not self._stretches[0].started:
            return 0.0
        return max(0.0, self._sink.consumed_ms() - self._stretches[0].begin_ms)

    def close(self) -> None:
        """Stop following."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def _wake_in(self, seconds: float) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake = (
            self._loop.call_later(seconds, self._look) if seconds else self._loop.call_soon(self._look)
        )

    def _look(self) -> None:
        self._wake = None
        while self._stretches:
            stretch = self._stretches[0]
            if not stretch.started:
                stretch.started = True
                self._on_started(stretch.response_id)
                continue
            if not stretch.complete:
                return
            left = stretch.end_ms - self._sink.consumed_ms()
            if left > 0.5:
                self._wake_in(max(left / 1000 / self._sink.speed, self._RECHECK_S))
                return
            self._stretches.popleft()
            self._on_stopped(stretch.response_id)
