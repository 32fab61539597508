"""Timer schedules: NCRONTAB expressions with six fields, or a TimeSpan.

Fields: second minute hour day month day-of-week; five fields mean second 0. Lists, ranges,
steps and English names of months and days. Unlike in Unix cron, day and day-of-week must both
match. Source: the NCrontab library and `TimerSchedule.cs` of the WebJobs SDK extensions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Sequence[tuple[str, int, int, Sequence[str]]] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_SEARCH_YEARS = 9
"""29 February falls out at most eight years in a row."""


class ScheduleError(ValueError):
    """The expression is not a schedule."""


class Schedule(Protocol):
    @property
    def adjusts_for_dst(self) -> bool: ...

    def next_after(self, moment: datetime) -> datetime:
        """Return the first occurrence strictly after `moment`. Raises ScheduleError when there is none."""
        ...


@dataclass(frozen=True)
class EveryTimeSpan:
    """A constant interval."""

    interval: timedelta
    adjusts_for_dst = False

    def next_after(self, moment: datetime) -> datetime:
        return moment + self.interval


@dataclass(frozen=True)
class Crontab:
    """An NCRONTAB expression: the allowed values of each field."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    adjusts_for_dst = True

    def next_after(self, moment: datetime) -> datetime:
        at = moment.replace(microsecond=0) + timedelta(seconds=1)
        last_year = at.year + _SEARCH_YEARS
        while at.year <= last_year:
            if at.month not in self.months:
                at = _first_of_next_month(at)
            elif at.day not in self.days or (at.isoweekday() % 7) not in self.weekdays:
                at = at.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif at.hour not in self.hours:
                at = at.replace(minute=0, second=0) + timedelta(hours=1)
            elif at.minute not in self.minutes:
                at = at.replace(second=0) + timedelta(minutes=1)
            elif at.second not in self.seconds:
                at += timedelta(seconds=1)
            else:
                return at
        raise ScheduleError("The schedule has no occurrence (is it 30 February?).")


def parse_schedule(text: str) -> Schedule:
    """Parse an NCRONTAB expression or a TimeSpan such as 00:05:00. Raises ScheduleError."""
    span = re.fullmatch(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})", text.strip())
    if span is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
        interval = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if not interval:
            raise ScheduleError("A TimeSpan schedule must be longer than zero.")
        return EveryTimeSpan(interval)
    parts = text.split()
    if len(parts) == 5:
        parts.insert(0, "0")
    if len(parts) != 6:
        raise ScheduleError(
            f"{text!r} is not a schedule: write six fields (second minute hour day month day-of-week), "
            "for example '0 */5 * * * *', or a TimeSpan such as 00:05:00."
        )
    return Crontab(*(_field(p, *f) for p, f in zip(parts, _FIELDS, strict=True)))


def _field(text: str, name: str, low: int, high: int, names: Sequence[str]) -> frozenset[int]:
    return frozenset(v for part in text.split(",") for v in _values(part, name, low, high, names))


def _values(part: str, name: str, low: int, high: int, names: Sequence[str]) -> range:
    found = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", part)
    if found is None:
        raise ScheduleError(f"{part!r} is not a {name}.")
    start, end, step = found.groups()
    if start == "*":
        first, last = low, high
    else:
        first = _number(start, name, low, high, names)
        last = _number(end, name, low, high, names) if end else (high if step else first)
    if last < first or (step is not None and int(step) == 0):
        raise ScheduleError(f"{part!r} is not a {name}.")
    return range(first, last + 1, int(step or 1))


def _number(text: str, name: str, low: int, high: int, names: Sequence[str]) -> int:
    if text[:3].lower() in names:
        return names.index(text[:3].lower()) + low
    if not text.isdigit() or not low <= int(text) <= high:
        raise ScheduleError(f"{text!r} is not a {name} ({low} to {high}).")
    return int(text)


def _first_of_next_month(at: datetime) -> datetime:
    year, month = (at.year + 1, 1) if at.month == 12 else (at.year, at.month + 1)
    return at.replace(year=year, month=month, day=1, hour=0, minute=0, second=0)
