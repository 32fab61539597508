"""When somebody answers: opening hours by weekday, in the time zone of the place that keeps them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SPAN = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])\s*-\s*([01][0-9]|2[0-4]):([0-5][0-9])")
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of a day, in minutes since midnight by the wall clock: from `opens` until before `closes`."""

    opens: int
    closes: int


@dataclass(frozen=True, kw_only=True)
class OpeningHours:
    """days: the spans of each weekday, Monday first. A day without any is closed."""

    zone: ZoneInfo
    days: tuple[tuple[Span, ...], ...]

    def is_open(self, at: datetime) -> bool:
        """Return whether it is open at this moment (aware of its time zone, whichever that is).

        The wall clock counts: where it is set back, an hour that comes twice is open, or closed, twice.
        """
        local = at.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        return any(span.opens <= minute < span.closes for span in self.days[local.weekday()])


def parse_span(text: str) -> Span:
    """Return the span that "09:00-17:30" writes; "24:00" is the end of a day.

    Raises ValueError with what is wrong and what to do.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError('must be two times of a day, as in "09:00-17:30".')
    hours = [int(group) for group in found.groups()]
    opens, closes = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if opens > _DAY_MINUTES or closes > _DAY_MINUTES:
        raise ValueError('ends after its day: "24:00" is the last time there is.')
    if opens >= closes:
        raise ValueError(
            'ends before it begins; over midnight write two: "22:00-24:00", and the next day\'s.'
        )
    return Span(opens=opens, closes=closes)
