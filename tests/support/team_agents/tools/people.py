"""Who calls, and what they owe."""

from __future__ import annotations

from shared.tools import ToolContext, tool


@tool(idempotent=True, sets_facts=["verified", "holder"])
def verify(name: str, context: ToolContext) -> dict[str, bool]:
    """Verify the caller by name."""
    known = name.lower() == "ann"
    context.facts.set("verified", known)
    context.facts.set("holder", "Ann" if known else "")
    return {"verified": known}


@tool(idempotent=True, requires=["verified"])
def balance(context: ToolContext) -> dict[str, object]:
    """Tell what the verified caller owes."""
    return {"holder": context.facts.get("holder"), "dollars": 12}
