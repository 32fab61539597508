"""Durable tools that ask a person, for tests. The ledger, a file, shows each time that one took effect."""

from __future__ import annotations

import os
from pathlib import Path

from shared.tools import ApprovalRule, IdempotencyKey, LateResult, ToolContext, tool

RULE = ApprovalRule(question="Refund {amount} dollars to {account}?", above={"amount": 100}, expires_s=600)
HASTY = ApprovalRule(question="Refund {amount} dollars at once?", expires_s=1)


def entered(text: str) -> None:
    """Write a line into the ledger."""
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(text + "\n")


def tell_customer(amount: int, key: IdempotencyKey, result: LateResult) -> None:
    """Stand in for a letter."""
    entered(f"{key} letter {amount} {result.status}")


def take_back(key: IdempotencyKey) -> None:
    """Undo what a reservation did."""
    entered(f"{key} taken back")


@tool(execution="durable", idempotent=True, approval=RULE, redact=["account"], notify=tell_customer)
async def refund(amount: int, account: str, context: ToolContext) -> dict[str, object]:
    """Refund an amount; the call may end meanwhile."""
    await context.progress("The refund is on its way.")
    entered(f"{context.idempotency_key} refund {amount} {context.approval.by if context.approval else '-'}")
    return {"refunded": amount, "account": account}


@tool(execution="durable", idempotent=True, approval=HASTY)
def refund_at_once(amount: int, context: ToolContext) -> dict[str, int]:
    """Refund an amount, if somebody approves within a second."""
    entered(f"{context.idempotency_key} refund {amount}")
    return {"refunded": amount}


@tool(execution="durable", idempotent=True, on_call_end="cancel", compensate=take_back)
def reserve(amount: int, context: ToolContext) -> dict[str, int]:
    """Reserve an amount, then ask whether it may be paid out; ends with the call."""
    entered(f"{context.idempotency_key} reserved {amount}")
    context.require_approval(f"Pay {amount} out?")
    return {"paid": amount}
