"""Durable tools for tests. The ledger, a file, shows each time that one took effect."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from shared.tools import ToolContext, tool


@tool(execution="durable", idempotent=True)
def book(context: ToolContext, day: str = "monday") -> dict[str, str]:
    """Book a day."""
    return _entered(context, day)


@tool(execution="durable", idempotent=True)
async def book_when_told(context: ToolContext, day: str = "monday") -> dict[str, str]:
    """Book a day once the gate file is there."""
    await _told(context)
    return _entered(context, day)


@tool(execution="durable", idempotent=False)
async def charge_when_told(context: ToolContext) -> dict[str, str]:
    """Charge once the gate file is there; never safe to repeat."""
    await _told(context)
    return _entered(context, "charged")


@tool(execution="durable", idempotent=True)
def flaky(context: ToolContext) -> dict[str, str]:
    """Fail once, then book."""
    marker = _ledger().with_suffix(f".{context.tool_call_id}")
    if not marker.exists():
        marker.touch()
        raise ConnectionError("the secret inside of the tool")
    return _entered(context, "friday")


@tool(execution="durable", idempotent=False)
def broken(context: ToolContext) -> dict[str, str]:
    """Fail, always, and never safe to repeat."""
    _entered(context, "never")
    raise RuntimeError("the secret inside of the tool")


async def _told(context: ToolContext) -> None:
    _ledger().with_suffix(f".{context.tool_call_id}.waiting").touch()
    while True:  # another process opens the gate
        if _ledger().with_suffix(".gate").exists():
            break
        await asyncio.sleep(0.02)


def _ledger() -> Path:
    return Path(os.environ["LEDGER"])


def _entered(context: ToolContext, day: str) -> dict[str, str]:
    with _ledger().open("a") as ledger:
        ledger.write(f"{context.idempotency_key} {day}\n")
    return {"booked": day}
