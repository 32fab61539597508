"""Tools for tests: one works, the others fail in the ways that tools fail."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.tools import ToolContext, tool


@tool(idempotent=True)
async def look_up(number: Annotated[int, Field(ge=1, le=999, description="which one")]) -> dict[str, int]:
    """Look a number up."""
    return {"number": number, "square": number * number}


@tool(idempotent=True)
def refuse() -> dict[str, str]:
    """Fail with an unexpected error."""
    raise RuntimeError("the secret inside of the tool")


@tool(idempotent=True, timeout_s=0.3)
async def hang() -> dict[str, str]:
    """Never answer."""
    await asyncio.Event().wait()
    return {}


@tool(idempotent=True)
def huge() -> str:
    """Answer with a megabyte."""
    return "x" * 1_000_000


@tool(idempotent=False, timeout_s=30)
async def charge(context: ToolContext) -> dict[str, str]:
    """Take money once the gate file is there; the ledger shows how often this took effect."""
    await _gate()
    return _entered(context, "charge")


@tool(execution="durable", idempotent=True)
def book(context: ToolContext, day: str = "monday") -> dict[str, str]:
    """Book a day; the ledger shows how often this took effect."""
    return _entered(context, day)


@tool(execution="durable", idempotent=True)
async def slow_book(context: ToolContext, day: str = "monday") -> dict[str, str]:
    """Book a day once the gate file is there."""
    await _gate()
    return _entered(context, day)


@tool(cancel_on_interrupt=True, timeout_s=30)
async def ponder(context: ToolContext) -> dict[str, str]:
    """Say that thinking has begun, and think until interrupted; the ledger shows that."""
    await context.progress("I have begun to think.")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        _entered(context, "stopped")
        raise
    return {}


async def _gate() -> None:
    gate = Path(os.environ["DESK_LEDGER"]).with_suffix(".gate")
    while not gate.exists():
        await asyncio.sleep(0.02)


def _entered(context: ToolContext, day: str) -> dict[str, str]:
    with Path(os.environ["DESK_LEDGER"]).open("a") as ledger:
        ledger.write(f"{context.idempotency_key} {day}\n")
    return {"booked": day}
