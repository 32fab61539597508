"""Whether a carrier sends audio as fast as time passes: a caller can't speak faster."""

from __future__ import annotations

# How far audio may run ahead of time: what waited in a network arrives at once.
AHEAD_MS = 3_000.0
# Beyond this many times real time, or below it, for so many looks in a row, something is wrong over there.
FASTEST, SLOWEST = 1.4, 0.6
WRONG_LOOKS = 3


class Pace:
    """One connection's pace. Look about once a second; times are milliseconds of any steady clock."""

    def __init__(self, now_ms: float) -> None:
        self._looked_ms = now_ms
        self._ahead_ms = 0.0
        self._wrong = 0
        self.factor = 1.0

    def look(self, audio_ms: float, now_ms: float) -> None:
        """`audio_ms` of audio came since the last look."""
        passed_ms = max(now_ms - self._looked_ms, 1.0)
        self._looked_ms = now_ms
        self._ahead_ms = max(self._ahead_ms + audio_ms - passed_ms, 0.0)
        self.factor = audio_ms / passed_ms
        self._wrong = 0 if SLOWEST <= self.factor <= FASTEST else self._wrong + 1

    def left_out(self, audio_ms: float) -> None:
        """So much of what `look` was told has not been passed on."""
        self._ahead_ms = max(self._ahead_ms - audio_ms, 0.0)

    @property
    def too_far_ahead(self) -> bool:
        """Whether audio is to be left out until time has caught up."""
        return self._ahead_ms > AHEAD_MS

    @property
    def newly_wrong(self) -> bool:
        """Whether the last look was the one after which this deserves a record."""
        return self._wrong == WRONG_LOOKS
