"""A circuit breaker: a server that keeps failing is left alone for a while, and then tried with one call."""

from __future__ import annotations

# So many failures in a row open it.
FAILURES = 5
# How long it stays open; twice as long after each trial that fails, up to the longest.
OPEN_S = 5.0
LONGEST_OPEN_S = 60.0


class CircuitBreaker:
    """Counts what it is told; times are seconds of a monotonic clock that the caller reads.

    Whoever gets True from `admit` reports the outcome with one of the other methods.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._open_until: float | None = None
        self._open_s = OPEN_S
        self._trying = False

    @property
    def open(self) -> bool:
        """Whether calls are refused, but for a trial."""
        return self._open_until is not None

    def admit(self, now: float) -> bool:
        """Return whether a call may be made now."""
        if self._open_until is None:
            return True
        if self._trying or now < self._open_until:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The server answered, be it with an error of the tool."""
        self._failures = 0
        self._open_until = None
        self._open_s = OPEN_S
        self._trying = False

    def failed(self, now: float) -> bool:
        """The server did not answer; return whether this has opened the breaker."""
        self._failures += 1
        if self._trying:
            self._trying = False
            self._open_s = min(self._open_s * 2, LONGEST_OPEN_S)
        elif self._open_until is not None or self._failures < FAILURES:
            return False
        opened = self._open_until is None
        self._open_until = now + self._open_s
        return opened

    def abandoned(self) -> None:
        """The call ended without telling anything about the server."""
        self._trying = False
