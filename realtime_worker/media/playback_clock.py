"""How much of what was sent a caller has heard.

A carrier queues what it is sent and plays it in real time, and most tell nothing of how far they are. So
time tells: a piece begins when all before it is over, at the earliest when it was sent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from shared.providers.protocol import AudioSource

# A carrier that plays this much later than we think has stopped; the clock does not follow it further.
MAX_LAG_MS = 3_000.0


@dataclass(frozen=True, kw_only=True)
class Heard:
    """How much of an item's audio was heard, in whole milliseconds rounded down."""

    source: AudioSource
    milliseconds: int


@dataclass(slots=True, kw_only=True)
class _Run:
    """Audio of one source that is played without a pause."""

    source: AudioSource
    before_ms: float  # of the same source, heard earlier
    begins_ms: float
    length_ms: float

    @property
    def ends_ms(self) -> float:
        return self.begins_ms + self.length_ms


class PlaybackClock:
    """Playback of one source after another; what belongs to one comes together. Times are milliseconds of any
    steady clock."""

    def __init__(self) -> None:
        self._runs: deque[_Run] = deque()  # the last one is what `sent` adds to
        self._ends_ms = 0.0
        self._lag_ms = 0.0
        self._marks: dict[str, float] = {}

    def sent(self, source: AudioSource, length_ms: float, now_ms: float) -> None:
        """Audio went out to the carrier."""
        runs = self._runs
        last = runs[-1] if runs else None
        if now_ms >= self._ends_ms:  # all before was heard: there is a pause
            if last is not None and (last.source is source or last.source == source):
                last.before_ms += last.length_ms
                last.begins_ms, last.length_ms = now_ms, length_ms
                while len(runs) > 1:
                    runs.popleft()
            else:
                runs.clear()
                runs.append(_Run(source=source, before_ms=0.0, begins_ms=now_ms, length_ms=length_ms))
            self._ends_ms = now_ms + length_ms
            return
        if last is not None and (last.source is source or last.source == source):
            last.length_ms += length_ms
        else:
            runs.append(_Run(source=source, before_ms=0.0, begins_ms=self._ends_ms, length_ms=length_ms))
        self._ends_ms += length_ms

    def marked(self, name: str) -> None:
        """A mark went out behind all that was sent."""
        self._marks[name] = self._ends_ms

    def reached(self, name: str, now_ms: float) -> None:
        """The carrier says that it has played everything before the mark."""
        expected_ms = self._marks.pop(name, None)
        if expected_ms is not None:
            self._lag_ms = min(max(now_ms - expected_ms, 0.0), MAX_LAG_MS)

    def over_at_ms(self, response_id: str) -> float:
        """Return when the last audio of a response has been heard; in the past where it was."""
        ends = [run.ends_ms for run in self._runs if run.source.response_id == response_id]
        return max(ends, default=0.0) + self._lag_ms

    def heard(self, source: AudioSource, now_ms: float) -> Heard:
        """Return how much of a source's audio was heard by now."""
        total = 0.0
        for run in self._runs:
            if run.source == source:
                played_ms = min(max(now_ms - self._lag_ms - run.begins_ms, 0.0), run.length_ms)
                total += run.before_ms + played_ms
        return Heard(source=source, milliseconds=int(total))

    def unheard(self, now_ms: float) -> list[AudioSource]:
        """Return the sources whose audio is not heard out by now, in the order in which they are played."""
        return [run.source for run in self._runs if run.ends_ms + self._lag_ms > now_ms]

    def stop(self) -> None:
        """The carrier has dropped what it had not played."""
        self._runs.clear()
        self._marks.clear()
        self._ends_ms = 0.0
