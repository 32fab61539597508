"""What a plan covers: a stand-in for the insurer's coverage service, which keeps the plans' rules."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared.tools import ToolContext, ToolRefusedError, tool

Service = Literal[
    "physical therapy", "dental cleaning", "eye exam", "emergency room", "prescription", "mental health"
]

SERVICES: dict[Service, str] = {
    "physical therapy": r"physical|therap|physio",
    "dental cleaning": r"dent|teeth|tooth|clean",
    "eye exam": r"eye|vision|glasses",
    "emergency room": r"emergency|ambulance",
    "prescription": r"prescri|drug|medic(?:ine|ation)|pharmacy",
    "mental health": r"mental|counsel|psych",
}


class Coverage(BaseModel):
    """What the plan pays for a service. Amounts in dollars; visits a year, 0 for any number."""

    plan: str
    service: str
    covered: bool
    plan_pays_percent: int = 0
    copay: int = 0
    visits_a_year: int = 0
    referral_needed: bool = False


# Plan, service, share in percent (None: not covered), copay, visits a year (0: any number), referral.
_TABLE: tuple[tuple[str, Service, int | None, int, int, bool], ...] = (
    ("Harbor Gold", "physical therapy", 80, 20, 30, False),
    ("Harbor Gold", "dental cleaning", 100, 0, 2, False),
    ("Harbor Gold", "eye exam", 100, 0, 1, False),
    ("Harbor Gold", "emergency room", 90, 150, 0, False),
    ("Harbor Gold", "prescription", 85, 10, 0, False),
    ("Harbor Gold", "mental health", 80, 20, 0, False),
    ("Harbor Silver", "physical therapy", 60, 40, 12, True),
    ("Harbor Silver", "dental cleaning", None, 0, 0, False),
    ("Harbor Silver", "eye exam", 100, 0, 1, False),
    ("Harbor Silver", "emergency room", 80, 250, 0, False),
    ("Harbor Silver", "prescription", 70, 15, 0, False),
    ("Harbor Silver", "mental health", 60, 40, 0, True),
)
_RULES = {
    (plan, service): Coverage(
        plan=plan,
        service=service,
        covered=share is not None,
        plan_pays_percent=share or 0,
        copay=copay,
        visits_a_year=visits,
        referral_needed=referral,
    )
    for plan, service, share, copay, visits, referral in _TABLE
}


@tool(idempotent=True, timeout_s=3, requires=["member_verified"])
def coverage(
    service: Annotated[str, Field(description="The service that the member asks about, in their words.")],
    context: ToolContext,
) -> Coverage:
    """Look up what the member's own plan pays for a service: share, copay, visits, referral."""
    plan = str(context.facts.get("plan") or "")
    meant = next((name for name, words in SERVICES.items() if re.search(words, service.lower())), None)
    if meant and (rule := _RULES.get((plan, meant))):
        return rule
    if meant:
        raise ToolRefusedError("The member's plan is not known; hand over to a person.", code="unknown_plan")
    raise ToolRefusedError(
        f"There is no rule for that service. Known are: {', '.join(SERVICES)}. Ask which is meant.",
        code="unknown_service",
    )
