"""The example billing system's books: every effect once for its key, and never more than there is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agents.servers.billing.ledger import BillingError, Ledger, dollars

MEMBER = "48291734"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    books = Ledger(tmp_path / "billing.sqlite")
    books.add_examples()
    return books


def refund(ledger: Ledger, cents: int, key: str) -> str:
    return ledger.refund(MEMBER, "INV-1988", cents, reason="twice", approved_by="", key=key).receipt


def test_a_payment_is_booked_once_however_often_it_is_sent_at_once(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as threads:
        booked = list(threads.map(lambda _: ledger.pay(MEMBER, "INV-2041", key="k"), range(8)))
    assert {entry.receipt for entry in booked} == {"P-00001"}
    assert [entry.repeated for entry in booked].count(False) == 1
    assert ledger.invoice(MEMBER, "INV-2041").open_cents == 0


def test_another_key_pays_nothing_twice(ledger: Ledger) -> None:
    ledger.pay(MEMBER, "INV-2041", key="a")
    with pytest.raises(BillingError, match="paid already"):
        ledger.pay(MEMBER, "INV-2041", key="b")


def test_a_key_stands_for_one_thing(ledger: Ledger) -> None:
    refund(ledger, 500, "k")
    assert refund(ledger, 500, "k") == "R-00001"
    with pytest.raises(BillingError, match="something else"):
        refund(ledger, 600, "k")


def test_no_more_is_given_back_than_was_paid(ledger: Ledger) -> None:
    refund(ledger, 40_000, "a")
    with pytest.raises(BillingError, match=r"At most 20\.00 dollars"):
        refund(ledger, 2_001, "b")
    with pytest.raises(BillingError, match="more than nothing"):
        refund(ledger, 0, "c")
    assert ledger.invoice(MEMBER, "INV-1988").refundable_cents == 2_000


def test_a_member_sees_their_own_invoices_only(ledger: Ledger) -> None:
    assert {invoice.number for invoice in ledger.invoices(MEMBER)} == {"INV-2041", "INV-2017", "INV-1988"}
    with pytest.raises(BillingError, match="no invoice"):
        ledger.invoice(MEMBER, "INV-2052")


def test_the_books_are_kept_when_it_is_started_again(ledger: Ledger, tmp_path: Path) -> None:
    ledger.pay(MEMBER, "INV-2041", key="k")
    again = Ledger(tmp_path / "billing.sqlite")
    again.add_examples()
    assert again.has_booked("k")
    assert again.invoice(MEMBER, "INV-2041").open_cents == 0


def test_amounts_are_written_with_cents() -> None:
    assert [dollars(cents) for cents in (5, 18_650, 100)] == ["0.05", "186.50", "1.00"]
