"""When a durable tool asks a person first, and what it is run with afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from shared.session.log import ToolStatus
from shared.tools import Approval, ApprovalRule, ToolContext, ToolRefusedError, tool
from shared.tools.approval_gate import ApprovalAsked
from shared.tools.companions import LateResult, call_companion, companion
from shared.tools.execution import ToolOutcome, attempt_tool, run_tool

YES = Approval(approval_id="apr_1", by="Dana", comment="Fine.")


def over(amount: int, context: ToolContext) -> bool:
    return amount > (500 if context.agent == "tester" else 0)


def broken(amount: int) -> bool:
    raise RuntimeError


RULES = {
    "always": ApprovalRule(question="Refund {amount} to {account} for {reason}?"),
    "above": ApprovalRule(question="Refund {amount}?", above={"amount": 100}),
    "when": ApprovalRule(question="Refund {amount}?", when=over),
    "either": ApprovalRule(question="Refund {amount}?", above={"amount": 100}, when=over),
    "broken": ApprovalRule(question="Refund {amount}?", when=broken),
}


async def refund(amount: int, account: str, context: ToolContext, reason: str = "") -> Mapping[str, object]:
    """Refund."""
    return {"amount": amount, "by": context.approval.by if context.approval else ""}


async def attempt(rule: str, amount: int, context: ToolContext) -> ToolOutcome | ApprovalAsked:
    made = tool(execution="durable", approval=RULES[rule], redact=["account"])(refund)
    return await attempt_tool(made, f'{{"amount":{amount},"account":"DE44"}}', context)


@pytest.mark.parametrize(
    ("rule", "amount", "asks"),
    [
        ("always", 1, True),
        ("above", 100, False),
        ("above", 101, True),
        ("when", 500, False),
        ("when", 501, True),
        ("either", 100, False),
        ("either", 101, True),
        ("broken", 1, True),
    ],
)
async def test_a_rule_asks_when_it_says_so_and_when_it_cannot_say(
    context: ToolContext, rule: str, amount: int, asks: bool
) -> None:
    ending = await attempt(rule, amount, context)
    assert isinstance(ending, ApprovalAsked) == asks
    approved = await attempt(rule, amount, replace(context, approval=YES))
    assert isinstance(approved, ToolOutcome)
    assert approved.output == f'{{"amount":{amount},"by":"Dana"}}'


async def test_the_question_holds_the_arguments_and_hides_what_is_redacted(context: ToolContext) -> None:
    ending = await attempt("always", 7, context)
    assert ending == ApprovalAsked(question="Refund 7 to *** for ?", expires_s=900.0)


async def test_a_tool_that_waits_for_a_person_has_not_begun(context: ToolContext) -> None:
    begun: list[str] = []

    async def begins() -> ToolOutcome | None:
        begun.append("begun")
        return (
            ToolOutcome(status=ToolStatus.UNKNOWN, output="{}", duration_ms=0.0)
            if "begun" in begun[:-1]
            else None
        )

    made = tool(execution="durable", approval=RULES["above"])(refund)
    for amount, approval in ((101, None), (101, YES), (1, None)):
        arguments = f'{{"amount":{amount},"account":"x"}}'
        ending = await attempt_tool(made, arguments, replace(context, approval=approval), begins=begins)
        begun.append(type(ending).__name__)
    assert begun == ["ApprovalAsked", "begun", "ToolOutcome", "begun", "ToolOutcome"]
    assert isinstance(ending, ToolOutcome)
    assert ending.status is ToolStatus.UNKNOWN, "what `begins` says is the outcome"


async def test_wrong_arguments_are_told_before_anybody_is_asked(context: ToolContext) -> None:
    made = tool(execution="durable", approval=RULES["always"])(refund)
    ending = await attempt_tool(made, '{"amount":"much"}', context)
    assert isinstance(ending, ToolOutcome)
    assert ending.status is ToolStatus.INVALID


@pytest.mark.parametrize("in_thread", [True, False])
async def test_a_tool_may_ask_in_its_middle(context: ToolContext, in_thread: bool) -> None:
    def asking(context: ToolContext) -> str:
        """Ask."""
        try:
            return context.require_approval("Sure?", expires_s=60).comment
        except Exception:
            return "swallowed"

    async def asking_async(context: ToolContext) -> str:
        """Ask."""
        return asking(context)

    made = tool(execution="durable")(asking if in_thread else asking_async)
    asked = await attempt_tool(made, "{}", context)
    assert asked == ApprovalAsked(question="Sure?", expires_s=60, began=True)
    ending = await attempt_tool(made, "{}", replace(context, approval=YES))
    assert isinstance(ending, ToolOutcome)
    assert ending.output == '"Fine."'


async def test_an_inline_tool_that_asks_has_failed(context: ToolContext) -> None:
    @tool()
    def asking(context: ToolContext) -> str:
        """Ask."""
        return context.require_approval("Sure?").by

    outcome = await run_tool(asking, "{}", context)
    assert (outcome.status, outcome.code) == (ToolStatus.ERROR, "tool_failed")


async def test_an_outcome_says_whether_there_can_be_an_effect(context: ToolContext) -> None:
    @tool(execution="durable")
    def refusing() -> None:
        """Refuse."""
        raise ToolRefusedError("No.")

    @tool(execution="durable")
    def failing() -> None:
        """Fail."""
        raise RuntimeError

    for made, arguments, began in ((refusing, "{}", False), (failing, "{}", True), (failing, "[]", False)):
        outcome = await run_tool(made, arguments, context)
        assert outcome.began is began, made.name


async def test_progress_is_told_whole_words_and_bounded(context: ToolContext) -> None:
    told: list[str] = []

    @tool()
    async def slow(context: ToolContext) -> None:
        """Be slow."""
        await context.progress("  Half \n done ")
        await context.progress("   ")
        await context.progress("x" * 1_000)

    await run_tool(slow, "{}", replace(context, tell=told.append))
    assert told == ["Half done", "x" * 300]


async def test_a_companion_gets_what_it_asks_for(context: ToolContext) -> None:
    seen: list[object] = []

    def tell(amount: int, result: LateResult, context: ToolContext) -> None:
        seen.extend((amount, result.status, context.session_id))

    made = companion(tell, ["amount", "account"], late_result=True)
    late = LateResult(status="ok", output="{}")
    await call_companion(made, {"amount": 7, "account": "x"}, context, late, within_s=5)
    assert seen == [7, "ok", "ses_test"]


async def test_a_companions_failure_is_its_callers_to_handle(context: ToolContext) -> None:
    async def undo() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await call_companion(companion(undo, []), {}, context, within_s=5)
