"""The example tool that asks a person: limits, one effect a call, and what becomes of it after the call."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.agents.catalog import load_agents
from shared.session.log import ToolStatus
from shared.tools import Approval, Facts, LateResult, StoppedClock, Tool, ToolContext
from shared.tools.approval_gate import ApprovalAsked
from shared.tools.companions import call_companion
from shared.tools.execution import ToolOutcome, attempt_tool

AGENTS = Path(__file__).parents[3] / "agents"
ARGUMENTS = {"claim_number": "ten forty-two", "dollars": 150, "account_ending": "ending in four two one one"}
DANA = Approval(approval_id="apr_1", by="Dana")


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEMBER_SERVICES_DB", str(tmp_path / "members.db"))
    return tmp_path / "members.db"


@pytest.fixture(scope="module")
def advance() -> Tool:
    return load_agents(AGENTS).get("claims").tools["advance_payment"]


@pytest.fixture
def context() -> ToolContext:
    return ToolContext(
        session_id="ses_1",
        tool_call_id="c1",
        idempotency_key="key",
        agent="claims",
        facts=Facts({"member_verified": True, "member_id": "48291734"}),
        clock=StoppedClock(datetime(2026, 9, 1, tzinfo=UTC)),
    )


async def attempt(
    tool: Tool, context: ToolContext, **changes: object
) -> tuple[ToolStatus, dict[str, object]] | ApprovalAsked:
    ending = await attempt_tool(tool, json.dumps({**ARGUMENTS, **changes}), context)
    if isinstance(ending, ApprovalAsked):
        return ending
    assert isinstance(ending, ToolOutcome)
    return ending.status, json.loads(ending.output)


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def test_a_small_advance_is_paid_at_once_and_once(
    advance: Tool, context: ToolContext, database: Path
) -> None:
    for _ in range(2):
        status, paid = await attempt(advance, context, dollars=100)  # type: ignore[misc]
        assert status is ToolStatus.OK, paid
        assert (paid["confirmation"], paid["approved_by"]) == ("P901", "the claims desk")
    found = rows(database, "SELECT claim_number, dollars, paid_at FROM advances")
    assert found == [("C-1042", 100, "2026-09-01T00:00:00+00:00")]


async def test_a_larger_one_waits_for_a_person_who_does_not_see_the_account(
    advance: Tool, context: ToolContext, database: Path
) -> None:
    asked = await attempt(advance, context)
    assert asked == ApprovalAsked(
        question="Pay 150 dollars on claim C-1042 in advance, to the account ending in ***?", expires_s=600
    )
    assert not list(database.parent.glob("*.db")), "it has not run"
    status, paid = await attempt(advance, replace(context, approval=DANA))  # type: ignore[misc]
    assert (status, paid["approved_by"]) == (ToolStatus.OK, "Dana")


@pytest.mark.parametrize(
    "changes", [{"claim_number": "2077"}, {"claim_number": "3150"}, {"dollars": 193}], ids=str
)
async def test_what_is_not_payable_is_refused(
    advance: Tool, context: ToolContext, database: Path, changes: dict[str, object]
) -> None:
    status, told = await attempt(advance, replace(context, approval=DANA), **changes)  # type: ignore[misc]
    assert status is ToolStatus.ERROR
    assert told["error"]["code"] == "not_payable"  # type: ignore[index]


async def test_a_payment_can_be_stopped_and_a_letter_written_however_often(
    advance: Tool, context: ToolContext, database: Path
) -> None:
    await attempt(advance, context, dollars=5)
    options, given = advance.durable, advance.reader.read(json.dumps(ARGUMENTS))
    assert options.compensate is not None
    assert options.notify is not None
    late = LateResult(status="ok", output="{}")
    for _ in range(2):
        await call_companion(options.compensate, given, context, within_s=5)
        await call_companion(options.notify, given, context, late, within_s=5)
    assert rows(database, "SELECT stopped FROM advances") == [(1,)]
    assert rows(database, "SELECT claim_number, status FROM letters") == [("C-1042", "ok")]
