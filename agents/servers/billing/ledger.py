"""Invoices, payments and refunds in SQLite. Every effect has a key, and happens once for it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS invoices (
    number TEXT PRIMARY KEY, member_id TEXT NOT NULL, purpose TEXT NOT NULL, cents INTEGER NOT NULL,
    due TEXT NOT NULL, paid_cents INTEGER NOT NULL DEFAULT 0, refunded_cents INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    invoice TEXT NOT NULL REFERENCES invoices(number), cents INTEGER NOT NULL, reason TEXT NOT NULL,
    approved_by TEXT NOT NULL, request TEXT NOT NULL, at TEXT NOT NULL
);
"""
# Member, number, purpose, cents, due, paid.
_EXAMPLES = (
    ("48291734", "INV-2041", "monthly premium, November", 18_650, "2026-12-01", 0),
    ("48291734", "INV-2017", "monthly premium, October", 18_650, "2026-11-01", 18_650),
    ("48291734", "INV-1988", "physical therapy, share of costs", 42_000, "2026-10-15", 42_000),
    ("57310826", "INV-2052", "monthly premium, November", 9_900, "2026-12-01", 0),
)


class BillingError(Exception):
    """What can't be done; the text is fit to be told to the member."""


@dataclass(frozen=True, kw_only=True)
class Invoice:
    """One invoice. Amounts in cents."""

    number: str
    purpose: str
    cents: int
    due: str
    paid_cents: int
    refunded_cents: int

    @property
    def open_cents(self) -> int:
        """What is still to be paid."""
        return max(self.cents - self.paid_cents, 0)

    @property
    def refundable_cents(self) -> int:
        """What was paid and not given back."""
        return self.paid_cents - self.refunded_cents


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A payment or a refund, as it was booked. `repeated`: it had been booked under this key before."""

    receipt: str
    invoice: str
    cents: int
    approved_by: str
    repeated: bool


class Ledger:
    """The books. Synchronous, and quick; one connection a call, so that any thread may use it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._books() as books:
            books.execute("PRAGMA journal_mode = WAL")
            books.executescript(_SCHEMA)

    def add_examples(self) -> None:
        """Put the example members' invoices in, where they are missing."""
        with self._books() as books:
            books.executemany(
                "INSERT OR IGNORE INTO invoices (member_id, number, purpose, cents, due, paid_cents) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                _EXAMPLES,
            )

    def invoices(self, member_id: str) -> list[Invoice]:
        """Return a member's invoices, the newest first."""
        with self._books() as books:
            rows = books.execute(
                "SELECT * FROM invoices WHERE member_id = ? ORDER BY due DESC", (member_id,)
            ).fetchall()
        return [_invoice(row) for row in rows]

    def invoice(self, member_id: str, number: str) -> Invoice:
        """Return one of a member's invoices; raises BillingError for any other."""
        with self._books() as books:
            return _find(books, member_id, number)

    def has_booked(self, key: str) -> bool:
        """Return whether something was booked under this key."""
        with self._books() as books:
            return books.execute("SELECT 1 FROM entries WHERE key = ?", (key,)).fetchone() is not None

    def pay(self, member_id: str, number: str, *, key: str) -> Entry:
        """Pay what is open of an invoice. Raises BillingError where nothing is."""

        def amount(invoice: Invoice) -> int:
            if not invoice.open_cents:
                raise BillingError(f"Invoice {number} is paid already.")
            return invoice.open_cents

        return self._book("payment", member_id, number, amount, key=key, request={})

    def refund(
        self, member_id: str, number: str, cents: int, *, reason: str, approved_by: str, key: str
    ) -> Entry:
        """Give back some of what was paid. Raises BillingError where so much was not."""

        def amount(invoice: Invoice) -> int:
            check_refundable(invoice, cents)
            return cents

        request = {"cents": cents}
        return self._book(
            "refund",
            member_id,
            number,
            amount,
            key=key,
            request=request,
            reason=reason,
            approved_by=approved_by,
        )

    def _book(
        self,
        kind: str,
        member_id: str,
        number: str,
        amount: Callable[[Invoice], int],
        *,
        key: str,
        request: dict[str, int],
        reason: str = "",
        approved_by: str = "",
    ) -> Entry:
        asked = json.dumps(
            {"kind": kind, "member_id": member_id, "invoice": number, **request}, sort_keys=True
        )
        with self._books() as books:
            books.execute("BEGIN IMMEDIATE")
            before = books.execute("SELECT * FROM entries WHERE key = ?", (key,)).fetchone()
            if before is not None:
                if before["request"] != asked:
                    raise BillingError("This key was used for something else.")
                return _entry(before, repeated=True)
            cents = amount(_find(books, member_id, number))
            row = books.execute(
                "INSERT INTO entries (key, kind, invoice, cents, reason, approved_by, request, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (key, kind, number, cents, reason, approved_by, asked, datetime.now(UTC).isoformat()),
            ).fetchone()
            column = "paid_cents" if kind == "payment" else "refunded_cents"
            books.execute(
                f"UPDATE invoices SET {column} = {column} + ? WHERE number = ?",  # noqa: S608  # one of two names
                (cents, number),
            )
            return _entry(row, repeated=False)

    @contextmanager
    def _books(self) -> Generator[sqlite3.Connection]:
        books = sqlite3.connect(self._file, timeout=5)
        books.row_factory = sqlite3.Row
        try:
            with books:
                yield books
        finally:
            books.close()


def check_refundable(invoice: Invoice, cents: int) -> None:
    """Raise BillingError unless `cents` can be given back."""
    if cents <= 0:
        raise BillingError("The amount must be more than nothing.")
    if cents > invoice.refundable_cents:
        most = dollars(invoice.refundable_cents)
        raise BillingError(f"At most {most} dollars of invoice {invoice.number} can be refunded.")


def dollars(cents: int) -> str:
    """Return an amount as it is written: 186.50."""
    return f"{cents // 100}.{cents % 100:02d}"


def _find(books: sqlite3.Connection, member_id: str, number: str) -> Invoice:
    row = books.execute(
        "SELECT * FROM invoices WHERE member_id = ? AND number = ?", (member_id, number.strip().upper())
    ).fetchone()
    if row is None:
        raise BillingError(f"This member has no invoice {number.strip().upper()[:32]}.")
    return _invoice(row)


def _invoice(row: sqlite3.Row) -> Invoice:
    return Invoice(
        number=str(row["number"]),
        purpose=str(row["purpose"]),
        cents=int(row["cents"]),
        due=str(row["due"]),
        paid_cents=int(row["paid_cents"]),
        refunded_cents=int(row["refunded_cents"]),
    )


def _entry(row: sqlite3.Row, *, repeated: bool) -> Entry:
    letter = "P" if row["kind"] == "payment" else "R"
    return Entry(
        receipt=f"{letter}-{int(row['id']):05d}",
        invoice=str(row["invoice"]),
        cents=int(row["cents"]),
        approved_by=str(row["approved_by"]),
        repeated=repeated,
    )
