"""Doctor's appointments: booked in a small SQLite database, once a tool call however often it is tried."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from shared.tools import ToolContext, ToolRefusedError, tool

from .spoken import clock_time

Doctor = Literal["Rivera", "Chen", "Okafor"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday"]

WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday")
WORKS_ON: dict[Doctor, tuple[Weekday, ...]] = {
    "Rivera": WEEKDAYS,
    "Chen": ("monday", "wednesday", "friday"),
    "Okafor": ("tuesday", "thursday"),
}
OPENS = time(8)
LAST_START = time(16, 30)
WEEKS_AHEAD = 26

_FIRST_NUMBER = 4_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS appointments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    idempotency_key TEXT NOT NULL UNIQUE,
    doctor TEXT NOT NULL,
    day TEXT NOT NULL,
    start TEXT NOT NULL,
    booked_at TEXT NOT NULL,
    UNIQUE (doctor, day, start)
)
"""


class Booking(BaseModel):
    """A booked appointment. `day` and `start` are for reading aloud, `date` and `time` for programs."""

    confirmation: str
    doctor: str
    day: str
    start: str
    date: date
    time: str


def _doctor(said: object) -> object:
    """Return the doctor that was meant: "Dr. Rivera", "doctor rivera", or a slip of the ear ("Riviera")."""
    parts = str(said).lower().replace(".", " ").split()
    name = "".join(part for part in parts if part not in ("dr", "doctor", "md", "with"))
    for doctor in WORKS_ON:
        if _consonants(name) == _consonants(doctor.lower()):
            return doctor
    raise ValueError(f"there is no such doctor; there are {_listed(WORKS_ON)}. Ask the caller which")


def _consonants(name: str) -> str:
    """Return what speech recognition rarely gets wrong in a name: "ockeffer" and "okafor" are both "kfr"."""
    return re.sub(r"(.)\1+", r"\1", re.sub(r"[^bcdfghjklmnpqrstvwxz]", "", name).replace("c", "k"))


def _weekday(said: object) -> object:
    """Return the weekday in "Tuesday", "next Tuesday", "Tue" or "Tuesdays"."""
    for word in str(said).lower().replace(".", " ").split():
        if word[:3] in ("sat", "sun"):
            raise ValueError("the offices are closed at the weekend; offer a day from Monday to Friday")
        for day in WEEKDAYS:
            if len(word) >= 3 and (day.startswith(word) or word.startswith(day)):
                return day
    raise ValueError("it must be a day from Monday to Friday")


def _start(said: str) -> str:
    try:
        return clock_time(said, first_hour=OPENS.hour)
    except ValueError as error:
        raise ValueError("it must be a time of day such as 10:30; ask the caller") from error


@tool(execution="durable", idempotent=True, timeout_s=20)
def book_appointment(
    doctor: Annotated[Doctor, BeforeValidator(_doctor), Field(description="The doctor's last name.")],
    weekday: Annotated[Weekday, BeforeValidator(_weekday), Field(description="The day of the week.")],
    start: Annotated[
        str,
        AfterValidator(_start),
        Field(description="When it begins: 24-hour HH:MM, on the hour or half hour, 08:00 to 16:30."),
    ],
    context: ToolContext,
) -> Booking:
    """Book a doctor's appointment on the first such weekday that is still free at that time.

    Returns the date and the confirmation number. Ask for doctor, weekday and time first.
    """
    at = time.fromisoformat(start)
    if not OPENS <= at <= LAST_START or at.minute not in (0, 30):
        raise ToolRefusedError(
            f"Appointments begin on the hour or half hour, from {_spoken_time(OPENS)} to "
            f"{_spoken_time(LAST_START)}; {_spoken_time(at)} is not possible. Ask for another time.",
            code="not_a_slot",
        )
    if weekday not in WORKS_ON[doctor]:
        works = _listed(day.title() for day in WORKS_ON[doctor])
        raise ToolRefusedError(
            f"Dr. {doctor} does not work on {weekday.title()}; only on {works}. "
            "Ask for another day or doctor.",
            code="not_a_working_day",
        )
    with _database() as database:
        return _book(database, context.idempotency_key, doctor, weekday, start, datetime.now(UTC))


def _book(
    database: sqlite3.Connection, key: str, doctor: Doctor, weekday: Weekday, start: str, now: datetime
) -> Booking:
    """Return the booking of `key`, making it on the first free date after today if there is none yet."""
    row = database.execute(
        "SELECT id, doctor, day, start FROM appointments WHERE idempotency_key = ?", (key,)
    ).fetchone()
    if row is not None:
        return _booking(*row)
    taken = {
        day
        for (day,) in database.execute(
            "SELECT day FROM appointments WHERE doctor = ? AND start = ?", (doctor, start)
        )
    }
    for day in _dates(weekday, after=now.date()):
        if day.isoformat() not in taken:
            cursor = database.execute(
                "INSERT INTO appointments (idempotency_key, doctor, day, start, booked_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (key, doctor, day.isoformat(), start, now.isoformat()),
            )
            return _booking(cursor.lastrowid or 0, doctor, day.isoformat(), start)
    raise ToolRefusedError(
        f"Dr. {doctor} has no {weekday.title()} free at {_spoken_time(time.fromisoformat(start))} for "
        f"{WEEKS_AHEAD} weeks. Ask for another day or time.",
        code="fully_booked",
    )


@contextmanager
def _database() -> Generator[sqlite3.Connection]:
    """Yield the database inside one transaction, which other processes wait for."""
    path = Path(os.environ.get("MEMBER_SERVICES_DB") or ".run/member_services.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            database.execute(_SCHEMA)
            yield database
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")


def _dates(weekday: Weekday, *, after: date) -> Iterator[date]:
    ahead = (WEEKDAYS.index(weekday) - after.weekday() - 1) % 7 + 1
    for week in range(WEEKS_AHEAD):
        yield after + timedelta(days=ahead, weeks=week)


def _booking(number: int, doctor: str, day: str, start: str) -> Booking:
    on = date.fromisoformat(day)
    return Booking(
        confirmation=f"B{_FIRST_NUMBER + number}",
        doctor=f"Dr. {doctor}",
        day=f"{on:%A, %B} {on.day}",
        start=_spoken_time(time.fromisoformat(start)),
        date=on,
        time=start,
    )


def _spoken_time(at: time) -> str:
    hour = at.hour % 12 or 12
    minutes = f":{at.minute:02}" if at.minute else ""
    return f"{hour}{minutes} {'AM' if at.hour < 12 else 'PM'}"


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
