"""The time as tools see it, so that a test can stop it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


class Clock:
    """Injected into a tool's parameter that is annotated `Clock`."""

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class StoppedClock(Clock):
    """For tests of tools."""

    at: datetime

    def now(self) -> datetime:
        """Return always the same time."""
        return self.at
