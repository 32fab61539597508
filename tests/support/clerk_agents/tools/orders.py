"""Tools whose every run and every effect is written down, in the directory ORDER_LEDGER.

`book`: a line `run <tool> <key> <order>` when a tool begins, `effect <tool> <key> <order>` when it had its
effect. Each line is one append, so that processes that die leave whole lines. A tool that is idempotent
has its effect once for each idempotency key, as a payment service would see to it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.tools import ApprovalRule, Filler, ToolContext, tool

# How long a tool works, between its beginning and its effect.
WORKS_S = 0.5

Order = Annotated[str, Field(pattern=r"\d+", description="The order's number.")]


@tool(idempotent=True)
async def look_up(order: Order, context: ToolContext) -> dict[str, str]:
    """Look an order up."""
    return await _work("look_up", context.idempotency_key, order, "found", once=True)


@tool(idempotent=False)
async def charge(order: Order, context: ToolContext) -> dict[str, str]:
    """Charge an order."""
    return await _work("charge", context.idempotency_key, order, "charged", once=False)


@tool(execution="durable", idempotent=True)
async def ship(order: Order, context: ToolContext) -> dict[str, str]:
    """Ship an order."""
    return await _work("ship", context.idempotency_key, order, "shipped", once=True)


@tool(execution="durable", idempotent=False)
async def refund(order: Order, context: ToolContext) -> dict[str, str]:
    """Refund an order."""
    return await _work("refund", context.idempotency_key, order, "refunded", once=False)


@tool(
    execution="durable",
    idempotent=True,
    approval=ApprovalRule(question="Credit {order}?"),
    speak_while_running=Filler(text="Still waiting.", after_s=60),
)
async def credit(order: Order, context: ToolContext) -> dict[str, str]:
    """Give the money of an order back, if a person agrees."""
    return await _work("credit", context.idempotency_key, order, "credited", once=True)


async def _work(name: str, key: str, order: str, done: str, *, once: bool) -> dict[str, str]:
    _write(f"run {name} {key} {order}")
    await asyncio.sleep(WORKS_S)
    if not once or _first(key):
        _write(f"effect {name} {key} {order}")
    return {"order": order, "done": done}


def _ledger() -> Path:
    return Path(os.environ["ORDER_LEDGER"])


def _write(line: str) -> None:
    book = os.open(_ledger() / "book", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(book, f"{line}\n".encode())
    finally:
        os.close(book)


def _first(key: str) -> bool:
    """Take the key; False when it was taken before."""
    try:
        os.close(os.open(_ledger() / f"key.{key}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True
