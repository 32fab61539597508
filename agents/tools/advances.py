"""Payments on a claim before its own is due: small ones at once, larger ones when a person agrees."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from shared.tools import ApprovalRule, Clock, IdempotencyKey, LateResult, ToolContext, ToolRefusedError, tool

from .claims import ClaimNumber, claims_of
from .spoken import digits

# What the desk may pay by itself, US dollars.
LIMIT = 100
_FIRST_NUMBER = 900
_SCHEMA = """
CREATE TABLE IF NOT EXISTS advances (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    idempotency_key TEXT NOT NULL UNIQUE,
    claim_number TEXT NOT NULL,
    dollars INTEGER NOT NULL,
    approved_by TEXT NOT NULL,
    paid_at TEXT NOT NULL,
    stopped INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS letters (
    idempotency_key TEXT NOT NULL UNIQUE,
    claim_number TEXT NOT NULL,
    status TEXT NOT NULL
);
"""


_SAID_BESIDE = frozenset({"account", "ending", "ends", "in", "with", "it", "the", "number", "is", "my"})


class Advance(BaseModel):
    """A payment that is on its way."""

    confirmation: str
    claim_number: str
    dollars: int
    approved_by: str


def _four_digits(said: str) -> str:
    try:
        found = digits(said, ignore=_SAID_BESIDE)
    except ValueError:
        found = ""
    if len(found) != 4:
        raise ValueError("it must be the last four digits of the account; ask the caller to say them")
    return found


def stop_payment(key: IdempotencyKey) -> None:
    """Undo what a payment that failed in the end may have done."""
    with _database() as database:
        database.execute("UPDATE advances SET stopped = 1 WHERE idempotency_key = ?", (key,))


def write_letter(claim_number: str, key: IdempotencyKey, result: LateResult) -> None:
    """Tell a member who has hung up, by letter, what became of the payment."""
    with _database() as database:
        database.execute(
            "INSERT OR IGNORE INTO letters (idempotency_key, claim_number, status) VALUES (?, ?, ?)",
            (key, claim_number, result.status),
        )


@tool(
    execution="durable",
    idempotent=True,
    timeout_s=20,
    deadline_s=120,
    requires=["member_verified"],
    approval=ApprovalRule(
        question="Pay {dollars} dollars on claim {claim_number} in advance, to the account ending in "
        "{account_ending}?",
        above={"dollars": LIMIT},
        expires_s=600,
    ),
    redact=["account_ending"],
    compensate=stop_payment,
    notify=write_letter,
)
def advance_payment(
    claim_number: ClaimNumber,
    dollars: Annotated[int, Field(ge=1, le=5_000, description="How much to pay now, whole US dollars.")],
    account_ending: Annotated[
        str,
        AfterValidator(_four_digits),
        Field(description="The last four digits of the member's account."),
    ],
    context: ToolContext,
    clock: Clock,
) -> Advance:
    """Pay part of an approved claim in advance. Above 100 dollars a colleague has to agree first."""
    own = (one for one in claims_of(context.facts.get("member_id")) if one.claim_number == claim_number)
    claim = next(own, None)
    if claim is None or claim.status != "approved" or dollars > claim.plan_pays:
        raise ToolRefusedError(
            f"That can't be paid on {claim_number}: only what the plan pays, on an approved claim of the "
            "member's own. Tell the caller, and offer to look at their claims.",
            code="not_payable",
        )
    context.progress("I am arranging the payment.")
    by = context.approval.by if context.approval else "the claims desk"
    with _database() as database:
        database.execute(
            "INSERT OR IGNORE INTO advances (idempotency_key, claim_number, dollars, approved_by, paid_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (context.idempotency_key, claim_number, dollars, by, clock.now().isoformat()),
        )
        number, by = database.execute(
            "SELECT id, approved_by FROM advances WHERE idempotency_key = ?", (context.idempotency_key,)
        ).fetchone()
    return Advance(
        confirmation=f"P{_FIRST_NUMBER + number}", claim_number=claim_number, dollars=dollars, approved_by=by
    )


@contextmanager
def _database() -> Generator[sqlite3.Connection]:
    path = Path(os.environ.get("MEMBER_SERVICES_DB") or ".run/member_services.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=5.0)) as database, database:
        database.executescript(_SCHEMA)
        yield database
