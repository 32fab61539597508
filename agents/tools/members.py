"""Who is calling: a stand-in for the insurer's member directory."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from shared.tools import ToolContext, ToolRefusedError, tool

from .spoken import digits

ATTEMPTS = 3
_SAID_BESIDE = frozenset({"member", "number", "id", "is", "my", "it", "its", "the", "year", "born", "in"})


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member as the directory knows them. The plan is one of the coverage service's."""

    member_id: str
    name: str
    birth_year: str
    plan: str


MEMBERS = {
    member.member_id: member
    for member in (
        Member(member_id="48291734", name="Ann Lee", birth_year="1984", plan="Harbor Gold"),
        Member(member_id="57310826", name="Tom Baker", birth_year="1971", plan="Harbor Silver"),
    )
}


class Verification(BaseModel):
    """Whether the caller is who they say; the name only then."""

    verified: bool
    member_name: str = ""
    attempts_left: int = ATTEMPTS


def _member_id(said: str) -> str:
    return _digits(said, 8, "a member number has eight digits; ask the caller to say it digit by digit")


def _year(said: str) -> str:
    return _digits(said, 4, "the year of birth has four digits; ask the caller again")


def _digits(said: str, count: int, otherwise: str) -> str:
    try:
        found = digits(said, ignore=_SAID_BESIDE)
    except ValueError:
        found = ""
    if not re.fullmatch(rf"\d{{{count}}}", found):
        raise ValueError(otherwise)
    return found


@tool(
    idempotent=True,
    timeout_s=3,
    sets_facts=["member_verified", "member_id", "member_name", "plan", "verification_failures"],
    redact=["birth_year"],
)
def verify_member(
    member_id: Annotated[str, AfterValidator(_member_id), Field(description="The member number, 8 digits.")],
    birth_year: Annotated[str, AfterValidator(_year), Field(description="The year of birth, 4 digits.")],
    context: ToolContext,
) -> Verification:
    """Verify the caller by member number and year of birth. Ask for both first; never guess either."""
    facts = context.facts
    failures = facts.get("verification_failures")
    failed = failures if isinstance(failures, int) else 0
    if failed >= ATTEMPTS:
        raise ToolRefusedError(
            "The caller could not be verified, and no further attempt is allowed in this call. Offer a "
            "callback from the human desk.",
            code="too_many_attempts",
        )
    member = MEMBERS.get(member_id)
    if member is None or not hmac.compare_digest(member.birth_year, birth_year):
        facts.set("verification_failures", failed + 1)
        return Verification(verified=False, attempts_left=ATTEMPTS - failed - 1)
    facts.set("member_verified", True)
    facts.set("member_id", member.member_id)
    facts.set("member_name", member.name)
    facts.set("plan", member.plan)
    return Verification(verified=True, member_name=member.name)
