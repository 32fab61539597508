"""The example agent's tools: numbers as they are spoken, and bookings that happen once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from shared.agents.catalog import Agent, load_agents
from shared.session.log import ToolExecution, ToolStatus
from shared.tools import ToolContext
from shared.tools.execution import ToolOutcome, run_tool

AGENTS = Path(__file__).parents[3] / "agents"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "not there yet" / "appointments.db"
    monkeypatch.setenv("MEMBER_SERVICES_DB", str(path))
    return path


@pytest.fixture(scope="module")
def agent() -> Agent:
    return load_agents(AGENTS).get("member_services")


async def run(agent: Agent, tool: str, key: str = "key", **arguments: object) -> ToolOutcome:
    context = ToolContext(session_id="ses_1", tool_call_id="call_1", idempotency_key=key, agent=agent.name)
    return await run_tool(agent.tools[tool], json.dumps(arguments), context)


def test_what_the_agent_promises(agent: Agent) -> None:
    status, book = agent.tools["claim_status"], agent.tools["book_appointment"]
    assert (status.execution, status.idempotent) == (ToolExecution.INLINE, True)
    assert (book.execution, book.idempotent) == (ToolExecution.DURABLE, True)
    assert agent.greeting.startswith("Thank you for calling Maple Harbor Health")
    instructions = agent.instructions({"caller_name": "Ann Lee"})
    assert "You are speaking with Ann Lee." in instructions
    assert "speaking with" not in agent.instructions({})
    for name in agent.tools:
        assert f"`{name}`" in instructions


@pytest.mark.parametrize(
    "said",
    ["1042", 1042, "C-1042", "c1042", "C 1042", "C 10 42", "one zero four two", "see ten forty-two",
     "Claim number one oh four two", "1,042", "one oh for two"],
)  # fmt: skip
async def test_a_claim_however_its_number_is_said(agent: Agent, said: object) -> None:
    outcome = await run(agent, "claim_status", claim_number=said)
    assert outcome.status is ToolStatus.OK, outcome.output
    found = json.loads(outcome.output)
    assert (found["claim_number"], found["status"], found["plan_pays"]) == ("C-1042", "approved", "192.00")


@pytest.mark.parametrize("said", ["", "104", "10421", "blue", "C-10x2"])
async def test_what_is_no_claim_number(agent: Agent, said: str) -> None:
    outcome = await run(agent, "claim_status", claim_number=said)
    assert outcome.status is ToolStatus.INVALID
    assert "the letter C and four digits" in outcome.output


async def test_an_unknown_claim(agent: Agent) -> None:
    outcome = await run(agent, "claim_status", claim_number="9999")
    assert (outcome.status, outcome.code) == (ToolStatus.ERROR, "unknown_claim")
    assert "There is no claim C-9999" in outcome.output


def rows(database: Path) -> list[tuple[str, str, str, str]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(
            "SELECT idempotency_key, doctor, day, start FROM appointments ORDER BY id"
        ).fetchall()
    finally:
        connection.close()


def booked(database: Path) -> int:
    return len(rows(database)) if database.exists() else 0


async def test_a_booking_happens_once(agent: Agent, database: Path) -> None:
    wish = {"doctor": "Dr. Rivera", "weekday": "Tuesday", "start": "ten"}
    first = await run(agent, "book_appointment", "a", **wish)
    again = await run(agent, "book_appointment", "a", **wish)
    assert first.status is ToolStatus.OK, first.output
    assert first.output == again.output
    found = json.loads(first.output)
    on = date.fromisoformat(found["date"])
    assert on.weekday() == 1
    assert timedelta(0) < on - datetime.now(UTC).date() <= timedelta(days=8)
    assert found["day"] == f"Tuesday, {on:%B} {on.day}"
    assert (found["doctor"], found["time"], found["start"]) == ("Dr. Rivera", "10:00", "10 AM")
    assert found["confirmation"] == "B4001"
    assert rows(database) == [("a", "Rivera", found["date"], "10:00")]


async def test_a_taken_time_moves_to_the_next_week(agent: Agent, database: Path) -> None:
    wish = {"doctor": "Rivera", "weekday": "tuesday", "start": "10:00"}
    found = [json.loads((await run(agent, "book_appointment", key, **wish)).output) for key in "abc"]
    dates = [date.fromisoformat(each["date"]) for each in found]
    assert [later - dates[0] for later in dates] == [timedelta(weeks=week) for week in range(3)]
    assert len({each["confirmation"] for each in found}) == 3
    assert len(rows(database)) == 3


async def test_a_fully_booked_time_is_refused_and_leaves_nothing(agent: Agent, database: Path) -> None:
    wish = {"doctor": "Chen", "weekday": "friday", "start": "16:30"}
    outcomes = [await run(agent, "book_appointment", str(key), **wish) for key in range(27)]
    assert [outcome.code for outcome in outcomes] == [""] * 26 + ["fully_booked"]
    assert len(rows(database)) == 26


async def test_many_at_once_book_once_each(agent: Agent, database: Path) -> None:
    wish = {"doctor": "Rivera", "weekday": "monday", "start": "09:00"}
    outcomes = await asyncio.gather(
        *(run(agent, "book_appointment", key, **wish) for key in ["a", "b", "c", "d"] * 3)
    )
    assert {outcome.status for outcome in outcomes} == {ToolStatus.OK}
    assert len({json.loads(outcome.output)["confirmation"] for outcome in outcomes}) == 4
    assert sorted(row[0] for row in rows(database)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("wish", "code", "told"),
    [
        ({"doctor": "Who"}, "invalid_arguments", "there are Rivera, Chen and Okafor"),
        ({"weekday": "Sunday"}, "invalid_arguments", "closed at the weekend"),
        ({"weekday": "someday"}, "invalid_arguments", "a day from Monday to Friday"),
        ({"start": "soon"}, "invalid_arguments", "a time of day such as 10:30"),
        ({"start": "25:00"}, "invalid_arguments", "a time of day such as 10:30"),
        ({"start": "10:10"}, "not_a_slot", "10:10 AM is not possible"),
        ({"start": "7 am"}, "not_a_slot", "from 8 AM to 4:30 PM"),
        ({"start": "17:00"}, "not_a_slot", "5 PM is not possible"),
        ({"doctor": "Chen"}, "not_a_working_day", "only on Monday, Wednesday and Friday"),
        ({"when": "now"}, "invalid_arguments", "when: is not a parameter"),
    ],
)
async def test_what_can_not_be_booked(
    agent: Agent, database: Path, wish: dict[str, str], code: str, told: str
) -> None:
    given = {"doctor": "Rivera", "weekday": "tuesday", "start": "10:00", **wish}
    outcome = await run(agent, "book_appointment", **given)
    assert outcome.code == code
    assert told in outcome.output
    assert booked(database) == 0


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ("10", "10:00"), ("10:30", "10:30"), ("1030", "10:30"), ("ten thirty", "10:30"), ("at 2", "14:00"),
        ("half past two", "14:30"), ("9 a.m.", "09:00"), ("3 p.m.", "15:00"), ("3pm", "15:00"),
        ("noon", "12:00"), ("four in the afternoon", "16:00"), ("8 o'clock", "08:00"), ("12:30", "12:30"),
        ("13:00", "13:00"),
    ],
)  # fmt: skip
async def test_times_as_they_are_said(agent: Agent, database: Path, said: str, time: str) -> None:
    outcome = await run(agent, "book_appointment", doctor="Rivera", weekday="friday", start=said)
    assert outcome.status is ToolStatus.OK, outcome.output
    assert json.loads(outcome.output)["time"] == time


async def test_a_broken_database_is_a_failure_that_can_be_retried(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broken.db"
    path.write_text("This is not a database, and long enough to be told apart from one. " * 20)
    monkeypatch.setenv("MEMBER_SERVICES_DB", str(path))
    wish = {"doctor": "Rivera", "weekday": "friday", "start": "10:00"}
    outcome = await run(agent, "book_appointment", **wish)
    assert (outcome.status, outcome.code, outcome.retryable) == (ToolStatus.ERROR, "tool_failed", True)
    path.unlink()
    assert (await run(agent, "book_appointment", **wish)).status is ToolStatus.OK
