"""Timer schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.functions_host.ncrontab import Crontab, ScheduleError, parse_schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "following"),
    [
        ("0 */5 * * * *", "2026-11-21T12:00:00", ["2026-11-21T12:05:00", "2026-11-21T12:10:00"]),
        ("*/5 * * * *", "2026-11-21T12:01:30", ["2026-11-21T12:05:00"]),
        ("* * * * * *", "2026-11-21T23:59:59.5", ["2026-11-22T00:00:00", "2026-11-22T00:00:01"]),
        ("0 30 9 * * 1-5", "2026-11-20T10:00:00", ["2026-11-23T09:30:00", "2026-11-24T09:30:00"]),
        ("0 0 0 29 Feb *", "2026-01-01T00:00:00", ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
        ("0 0 0 13 * FRI", "2026-11-21T00:00:00", ["2027-08-13T00:00:00"]),
        (
            "15,45 0 0 1 jan,Jul Sun-Sat",
            "2026-11-21T00:00:00",
            ["2027-01-01T00:00:15", "2027-01-01T00:00:45"],
        ),
        ("0 0 8-18/5 * * *", "2026-11-21T09:00:00", ["2026-11-21T13:00:00", "2026-11-21T18:00:00"]),
        ("0 40/10 * * * *", "2026-11-21T12:00:00", ["2026-11-21T12:40:00", "2026-11-21T12:50:00"]),
        ("01:30:00", "2026-11-21T12:00:00", ["2026-11-21T13:30:00", "2026-11-21T15:00:00"]),
    ],
)
def test_occurrences(schedule: str, after: str, following: list[str]) -> None:
    parsed, moment = parse_schedule(schedule), at(after)
    for expected in following:
        moment = parsed.next_after(moment)
        assert moment == at(expected)


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("", "six fields"),
        ("* * * *", "six fields"),
        ("60 * * * * *", "'60' is not a second"),
        ("* * 24 * * *", "'24' is not a hour"),
        ("* * * 0 * *", "'0' is not a day"),
        ("* * * * 13 *", "'13' is not a month"),
        ("* * * * * 7", "'7' is not a day of week"),
        ("5-1 * * * * *", "'5-1' is not a second"),
        ("*/0 * * * * *", "is not a second"),
        ("? * * * * *", "is not a second"),
        ("00:00:00", "longer than zero"),
    ],
)
def test_what_is_not_a_schedule(schedule: str, says: str) -> None:
    with pytest.raises(ScheduleError, match=says.replace("*", r"\*").replace("?", r"\?")):
        parse_schedule(schedule)


def test_a_date_that_never_comes() -> None:
    with pytest.raises(ScheduleError, match="no occurrence"):
        parse_schedule("0 0 0 30 2 *").next_after(at("2026-01-01T00:00:00"))


fields = st.tuples(
    st.sets(st.integers(0, 59), min_size=1, max_size=3),
    st.sets(st.integers(0, 59), min_size=1, max_size=3),
    st.sets(st.integers(0, 23), min_size=1, max_size=3),
    st.just(set(range(1, 32))),
    st.sets(st.integers(1, 12), min_size=1, max_size=3),
    st.sets(st.integers(0, 6), min_size=1, max_size=3),
)


@given(
    fields=fields,
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # hypothesis wants naive bounds
)
def test_the_next_occurrence_fits_every_field_and_comes_later(
    fields: tuple[set[int], ...], moment: datetime
) -> None:
    schedule = Crontab(*(frozenset(f) for f in fields))
    found = schedule.next_after(moment)
    parts = (found.second, found.minute, found.hour, found.day, found.month, found.isoweekday() % 7)
    assert all(part in allowed for part, allowed in zip(parts, fields, strict=True))
    assert found > moment
    assert schedule.next_after(found - timedelta(microseconds=1)) == found
