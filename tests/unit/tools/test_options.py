"""What `@tool` can be told beside the function, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from shared.tools import (
    ApprovalRule,
    Clock,
    Facts,
    Filler,
    IdempotencyKey,
    LateResult,
    StoppedClock,
    ToolContext,
    ToolDefinitionError,
    ToolSession,
    tool,
)
from shared.tools.approval import exceeds
from shared.tools.execution import run_tool
from shared.tools.http_client import close_http_client
from shared.tools.options import LONGEST_PAUSE_S, DurableOptions

RULE = ApprovalRule(question="Pay {amount}?")


class Card(BaseModel):
    number: str


class Paid(BaseModel):
    amount: int
    card: Card


class Order(BaseModel):
    amount: int
    account: str


async def pay(amount: int, account: str) -> Paid:
    """Pay."""
    return Paid(amount=amount, card=Card(number=account))


def order(wish: Order) -> None:
    """Order."""


def undo(amount: int, key: IdempotencyKey, context: ToolContext) -> None:
    """Take it back."""


def misnamed(sum_paid: int) -> None:
    """Take it back."""


def with_result(result: LateResult) -> None:
    """Tell."""


def blocking(http: aiohttp.ClientSession) -> str:
    """Wait."""
    return "done"


@pytest.mark.parametrize(
    ("function", "options", "told"),
    [
        (pay, {"redact": "account"}, "redact: write a list"),
        (
            pay,
            {"redact": ["acount"]},
            "no parameter or field acount; there are: account, amount, card, number",
        ),
        (pay, {"speak_while_running": "x" * 201}, "at most 200 characters"),
        (pay, {"speak_while_running": Filler(text="x", after_s=0)}, "after_s"),
        (pay, {"cancel_on_interrupt": True, "execution": "durable"}, "outlives interruptions"),
        (order, {"cancel_on_interrupt": True}, "needs async def"),
        (blocking, {}, "HTTP client works in an async def"),
        (pay, {"approval": RULE}, 'approval is for durable tools; add execution="durable"'),
        (pay, {"compensate": undo}, "compensate is for durable tools"),
        (pay, {"execution": "durable", "attempts": 0}, "attempts is 1 to 20"),
        (pay, {"execution": "durable", "backoff_s": -1}, "backoff_s is a number"),
        (pay, {"execution": "durable", "on_call_end": "stop"}, 'on_call_end is "continue" or "cancel"'),
        (pay, {"execution": "durable", "compensate": misnamed}, "its parameter sum_paid is neither"),
        (pay, {"execution": "durable", "compensate": with_result}, "only notify can take a LateResult"),
        (
            pay,
            {"execution": "durable", "approval": ApprovalRule(question="Pay {sum}?")},
            "there is no parameter sum",
        ),
        (
            pay,
            {"execution": "durable", "approval": ApprovalRule(question="Pay {amount:.2f}?")},
            "not the name of a parameter",
        ),
        (
            pay,
            {"execution": "durable", "approval": ApprovalRule(question="Pay?", above={"amout": 1})},
            "there is no parameter amout",
        ),
        (
            pay,
            {"execution": "durable", "approval": ApprovalRule(question="Pay?", expires_s=0)},
            "expires_s is above 0",
        ),
    ],
)
def test_an_option_that_could_not_be_kept_is_refused(
    function: Callable[..., object], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ToolDefinitionError) as caught:
        tool(**options)(function)
    assert told in caught.value.detail


def test_fields_of_arguments_and_of_the_result_can_be_redacted() -> None:
    assert tool(redact=["account", "number"])(pay).redact == ("account", "number")
    assert tool(execution="durable", approval=ApprovalRule(question="{account}?"))(order).durable.approval


def test_a_filler_may_be_a_sentence() -> None:
    made = tool(speak_while_running="One moment.")(pay).speak_while_running
    assert made == Filler(text="One moment.", after_s=1.5)
    assert tool()(pay).speak_while_running is None


async def test_what_is_asked_for_by_type_is_given_and_hidden(context: ToolContext) -> None:
    @tool()
    async def look(
        word: str,
        session: ToolSession,
        facts: Facts,
        clock: Clock,
        key: IdempotencyKey,
        http: aiohttp.ClientSession,
    ) -> list[str]:
        """Look."""
        limit = http.timeout.total or 0
        return [word, session.agent, str("x" in facts), clock.now().isoformat(), key, str(limit > 0)]

    assert set(look.parameters["properties"]) == {"word"}  # type: ignore[call-overload]
    stopped = ToolContext(
        session_id=context.session_id,
        tool_call_id=context.tool_call_id,
        idempotency_key=context.idempotency_key,
        agent=context.agent,
        facts=Facts({"x": 1}),
        clock=StoppedClock(datetime(2026, 1, 5, tzinfo=UTC)),
    )
    try:
        outcome = await run_tool(look, '{"word":"a"}', stopped)
    finally:
        await close_http_client()
    assert outcome.output == ('["a","tester","True","2026-01-05T00:00:00+00:00","ses_test.call_1","True"]')


@given(
    attempt=st.integers(1, 30),
    attempts=st.integers(1, 20),
    backoff_s=st.floats(0.01, 60),
    elapsed_s=st.floats(0, 1e6),
    deadline_s=st.none() | st.floats(0.1, 1e5),
)
def test_pauses_grow_and_end(
    attempt: int, attempts: int, backoff_s: float, elapsed_s: float, deadline_s: float | None
) -> None:
    options = DurableOptions(attempts=attempts, backoff_s=backoff_s, deadline_s=deadline_s)
    pause = options.pause_s(attempt, elapsed_s)
    if attempt >= attempts:
        assert pause is None
    elif pause is not None:
        assert 0 < pause <= LONGEST_PAUSE_S
        assert deadline_s is None or elapsed_s + pause <= deadline_s
        before = options.pause_s(attempt - 1, 0) if attempt > 1 else 0.0
        assert before is None or pause >= before


def test_amounts_are_compared_as_they_are() -> None:
    above = {"amount": 100.0}
    assert not exceeds(above, {"amount": 100})
    assert exceeds(above, {"amount": "100.01"})
    assert exceeds(above, {"amount": str(Decimal("1E+3"))})
    assert exceeds(above, {"amount": "a hundred"}), "what is no number is looked at by a person"
    assert exceeds(above, {"amount": "NaN"})
    assert exceeds(above, {}), "so is what is missing, as where a rule names it wrongly"
