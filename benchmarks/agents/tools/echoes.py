"""Tools that cost nothing themselves."""

from __future__ import annotations

from shared.tools import tool


@tool(idempotent=True)
async def echo(number: int) -> dict[str, int]:
    """Return the number."""
    return {"number": number}


@tool(execution="durable", idempotent=True)
async def echo_later(number: int) -> dict[str, int]:
    """Return the number, from an orchestration."""
    return {"number": number}
