"""Claims of members: a stand-in for the insurer's claims system."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from shared.tools import ToolContext, ToolRefusedError, tool

from .spoken import digits

_SAID_BESIDE = frozenset({"c", "claim", "number", "id", "is", "see", "sea"})


class ClaimStatus(BaseModel):
    """Where a claim stands. Amounts are US dollars."""

    claim_number: str
    status: Literal["received", "in review", "approved", "paid", "denied"]
    service: str
    service_date: date
    billed: Decimal
    plan_pays: Decimal
    next_step: str


_CLAIMS = {
    claim.claim_number: claim
    for claim in (
        ClaimStatus(
            claim_number="C-1042",
            status="approved",
            service="physical therapy",
            service_date=date(2026, 8, 14),
            billed=Decimal("240.00"),
            plan_pays=Decimal("192.00"),
            next_step="Payment goes out within five business days.",
        ),
        ClaimStatus(
            claim_number="C-2077",
            status="in review",
            service="an emergency room visit",
            service_date=date(2026, 9, 2),
            billed=Decimal("1830.00"),
            plan_pays=Decimal("0.00"),
            next_step="We expect a decision within ten days.",
        ),
        ClaimStatus(
            claim_number="C-3150",
            status="denied",
            service="a cosmetic procedure",
            service_date=date(2026, 7, 21),
            billed=Decimal("615.00"),
            plan_pays=Decimal("0.00"),
            next_step="You can appeal in writing within sixty days.",
        ),
        ClaimStatus(
            claim_number="C-4096",
            status="paid",
            service="an annual check-up",
            service_date=date(2026, 6, 30),
            billed=Decimal("180.00"),
            plan_pays=Decimal("180.00"),
            next_step="Nothing is left to do.",
        ),
    )
}


# Whose claims they are, by member number.
_CLAIMS_OF = {"48291734": ("C-1042", "C-2077"), "57310826": ("C-3150", "C-4096")}


def _claim_number(said: str) -> str:
    try:
        found = digits(said, ignore=_SAID_BESIDE)
    except ValueError:
        found = ""
    if not re.fullmatch(r"\d{4}", found):
        raise ValueError(
            "a claim number is the letter C and four digits, such as C-1042; "
            "ask the caller to say it digit by digit"
        )
    return f"C-{found}"


ClaimNumber = Annotated[
    str,
    AfterValidator(_claim_number),
    Field(description="The claim number: the letter C and four digits, such as C-1042."),
]


def claims_of(member_id: object) -> list[ClaimStatus]:
    """Return the claims of a member, [] for nobody we know."""
    return [_CLAIMS[number] for number in _CLAIMS_OF.get(str(member_id), ())]


@tool(idempotent=True, timeout_s=3)
def claim_status(claim_number: ClaimNumber) -> ClaimStatus:
    """Look up where a claim stands: its status, what the plan pays, and what happens next."""
    claim = _CLAIMS.get(claim_number)
    if claim is None:
        raise ToolRefusedError(
            f"There is no claim {claim_number}. Ask the caller to repeat the number digit by digit.",
            code="unknown_claim",
        )
    return claim


@tool(idempotent=True, timeout_s=3, requires=["member_verified"])
def my_claims(context: ToolContext) -> list[ClaimStatus]:
    """List all claims of the verified member, with status, amounts and next step."""
    return claims_of(context.facts.get("member_id"))
