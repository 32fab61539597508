"""tool_call, replayed by the real Durable SDK: the session always gets exactly one result."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.tool_calls import (
    ASK_APPROVAL,
    ASK_IF_TAKEN,
    COMPENSATE,
    DELIVER_RESULT,
    NOTIFY,
    RUN_TOOL,
    SETTLE_APPROVAL,
    tool_call,
)
from tests.support.orchestration import OrchestrationDriver

GIVEN = {
    "session_id": "ses_00000000000000000000000000",
    "tool_call_id": "call_1",
    "tool": "book_appointment",
    "arguments": '{"day":"tuesday"}',
    "agent": "member_services",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
OK = {"status": "ok", "output": '{"booked":true}', "duration_ms": 12.5, "began": True}
ASKS = {"asks": {"question": "Refund 500?", "expires_s": 600.0}, "began": False}
DECISION = {"approval_id": "apr_1", "by": "Dana", "comment": "Fine."}


def failed(**more: Any) -> dict[str, Any]:
    return {"status": "error", "output": '{"error":{}}', "duration_ms": 3.0, "began": True, **more}


def asking(**more: Any) -> OrchestrationDriver:
    """An orchestration that waits for its approval."""
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, {**ASKS, **more})
    asked = run.complete(ASK_APPROVAL, {"state": "pending"})
    assert (asked["question"], asked["expires_s"]) == ("Refund 500?", 600.0)
    return run


def test_a_result_is_brought_to_the_session() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    assert run.complete(RUN_TOOL, OK) == {**GIVEN, "attempt": 1, "elapsed_s": 0.0}
    assert run.complete(DELIVER_RESULT, {"delivered": True}) == {
        "session_id": GIVEN["session_id"],
        "tool_call_id": "call_1",
        "tool": "book_appointment",
        "traceparent": GIVEN["traceparent"],
        "status": "ok",
        "output": '{"booked":true}',
        "duration_ms": 12.5,
        "facts": {},
        "redact": [],
        "undone": None,
    }
    assert run.output == {"status": "ok", "attempts": 1}


def test_a_refusal_of_the_tool_is_a_result_and_not_tried_again() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, failed())
    assert run.complete(DELIVER_RESULT, {"delivered": True})["status"] == "error"
    assert run.output["attempts"] == 1


def test_what_may_go_better_is_tried_again_after_growing_pauses() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, failed(again_in_s=1.0))
    assert [timer.after_s for timer in run.timers()] == [1.0]
    run.fire_timer()
    assert run.complete(RUN_TOOL, failed(again_in_s=4.0))["elapsed_s"] == 1.0
    assert [timer.after_s for timer in run.timers()] == [4.0]
    run.fire_timer()
    assert run.complete(RUN_TOOL, OK)["attempt"] == 3
    assert run.complete(DELIVER_RESULT, {"delivered": True})["status"] == "ok"
    assert run.output == {"status": "ok", "attempts": 3}


def test_the_last_attempts_own_words_reach_the_model() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    for _ in range(2):
        run.complete(RUN_TOOL, failed(again_in_s=1.0, output='{"error":{"code":"early"}}'))
        run.fire_timer()
    run.complete(RUN_TOOL, failed(output='{"error":{"code":"last"}}', status="timeout"))
    given = run.complete(DELIVER_RESULT, {"delivered": True})
    assert (given["status"], given["output"]) == ("timeout", '{"error":{"code":"last"}}')


def test_a_tool_that_cannot_be_run_at_all_still_gets_a_result_without_internals() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.fail(RUN_TOOL, times=20)
    given = run.complete(DELIVER_RESULT, {"delivered": True})
    assert given["status"] == "error"
    assert json.loads(given["output"])["error"]["code"] == "tool_failed"
    assert "boom" not in given["output"]
    assert run.output == {"status": "error", "attempts": 1}


def test_delivery_is_repeated_while_redis_is_away() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, OK)
    run.fail(DELIVER_RESULT, times=40)
    run.complete(DELIVER_RESULT, {"delivered": True})
    assert run.done


# Approvals


def test_an_approved_tool_is_run_again_with_its_approval() -> None:
    run = asking()
    run.raise_event("decided", {})
    run.complete(SETTLE_APPROVAL, {"state": "approved", **DECISION})
    assert run.complete(RUN_TOOL, OK)["approval"] == {"state": "approved", **DECISION}
    assert run.complete(DELIVER_RESULT, {"delivered": True})["status"] == "ok"
    assert run.done


def test_a_decision_that_comes_before_anybody_waits_for_it_counts() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, ASKS)
    run.raise_event("decided", {})
    run.complete(ASK_APPROVAL, {"state": "pending"})
    run.complete(SETTLE_APPROVAL, {"state": "approved", **DECISION})
    run.complete(RUN_TOOL, OK)
    assert run.complete(DELIVER_RESULT, {"delivered": True})["status"] == "ok"


def test_an_event_that_nothing_stands_behind_decides_nothing_and_wakes_once() -> None:
    run = asking()
    run.raise_event("decided", {"decision": "approve"})
    run.complete(SETTLE_APPROVAL, {"state": "pending"})
    assert run.activities() == []
    assert [timer.after_s for timer in run.timers()] == [60.0]


def test_a_decision_of_which_nobody_told_is_found_by_looking() -> None:
    run = asking()
    assert [timer.after_s for timer in run.timers()] == [30.0]
    run.fire_timer()
    run.complete(SETTLE_APPROVAL, {"state": "approved", **DECISION})
    run.complete(RUN_TOOL, OK)
    assert run.complete(DELIVER_RESULT, {"delivered": True})["status"] == "ok"


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("rejected", "error", "approval_rejected"),
        ("expired", "error", "approval_expired"),
        ("withdrawn", "cancelled", "call_ended"),
    ],
)
def test_without_approval_the_tool_is_not_run_and_the_model_told_why(
    state: str, status: str, code: str
) -> None:
    run = asking()
    run.raise_event("decided", {})
    run.complete(SETTLE_APPROVAL, {"state": state, "comment": "Too much."})
    given = run.complete(DELIVER_RESULT, {"delivered": True})
    assert (given["status"], json.loads(given["output"])["error"]["code"]) == (status, code)
    assert ("Too much." in given["output"]) == (state == "rejected")


def test_looks_grow_rare_and_stop_when_the_time_is_over() -> None:
    run = asking()
    looks: list[float] = []
    while not run.done and len(looks) < 50:
        looks.append(run.timers()[0].after_s)
        run.fire_timer()
        look = run.complete(SETTLE_APPROVAL, {"state": "pending"})
        if look["withdraw"]:
            break
    assert looks == [30, 60, 120, 240, 150, 2, 2, 2, 2, 2]


def test_a_wait_outlasts_a_redis_that_is_away() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, ASKS)
    run.fail(ASK_APPROVAL, times=60)
    run.fire_timer()
    run.complete(ASK_APPROVAL, {"state": "pending"})
    run.raise_event("decided", {})
    run.fail(SETTLE_APPROVAL, times=60)
    assert [timer.after_s for timer in run.timers()] == [30.0], "soon again: somebody may have decided"
    run.fire_timer()
    run.complete(SETTLE_APPROVAL, {"state": "approved", **DECISION})
    run.complete(RUN_TOOL, OK)
    assert run.complete(DELIVER_RESULT, {"delivered": True})["status"] == "ok"


def test_the_end_of_the_call_withdraws_what_ends_with_it() -> None:
    run = asking(cancels=True)
    run.raise_event("call_ended", {})
    run.complete(SETTLE_APPROVAL, {"state": "withdrawn"})
    assert run.complete(DELIVER_RESULT, {"delivered": True, "late": True})["status"] == "cancelled"
    assert run.done


def test_the_end_of_the_call_does_not_disturb_what_goes_on_without_it() -> None:
    run = asking(notifies=True)
    run.raise_event("call_ended", {})
    assert run.activities() == []
    run.raise_event("decided", {})
    run.complete(SETTLE_APPROVAL, {"state": "approved", **DECISION})
    run.complete(RUN_TOOL, {**OK, "notifies": True})
    run.complete(DELIVER_RESULT, {"delivered": True, "late": True})
    assert run.complete(NOTIFY, {})["output"] == OK["output"]
    assert run.done


@pytest.mark.parametrize(("late", "told"), [(True, 1), (False, 0)])
def test_a_result_that_comes_while_the_call_ends_is_looked_after(late: bool, told: int) -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, {**OK, "notifies": True})
    run.complete(DELIVER_RESULT, {"delivered": True, "late": None})
    for pause_s in (2.0, 4.0):
        assert [timer.after_s for timer in run.timers()] == [pause_s]
        run.fire_timer()
        run.complete(ASK_IF_TAKEN, {"late": None if pause_s == 2.0 else late})
    assert len(run.activities()) == told
    if told:
        run.complete(NOTIFY, {})
    assert run.done


# Undoing


def test_what_failed_in_the_end_is_undone_and_the_model_told() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, failed(status="timeout", compensates=True))
    assert run.complete(COMPENSATE, {})["arguments"] == GIVEN["arguments"]
    given = run.complete(DELIVER_RESULT, {"delivered": True})
    assert (given["status"], given["undone"]) == ("timeout", True)
    assert "was undone" in given["output"]


def test_undoing_that_fails_is_told_as_well() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, failed(compensates=True))
    run.fail(COMPENSATE, times=5)
    given = run.complete(DELIVER_RESULT, {"delivered": True})
    assert given["undone"] is False
    assert "a person has to look" in given["output"]


@pytest.mark.parametrize("outcome", [OK, failed(began=False)], ids=["done", "never begun"])
def test_what_went_well_or_never_began_is_not_undone(outcome: dict[str, Any]) -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, {**outcome, "compensates": True})
    assert run.complete(DELIVER_RESULT, {"delivered": True})["undone"] is None


def test_what_asked_in_its_middle_is_undone_when_it_is_refused() -> None:
    run = asking(began=True, compensates=True)
    run.raise_event("decided", {})
    run.complete(SETTLE_APPROVAL, {"state": "rejected"})
    run.complete(COMPENSATE, {})
    assert run.complete(DELIVER_RESULT, {"delivered": True})["undone"] is True


def test_what_was_done_for_a_call_that_had_ended_is_undone_where_it_ends_with_it() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, {**OK, "cancels": True, "compensates": True, "call_over": True})
    run.complete(COMPENSATE, {})
    given = run.complete(DELIVER_RESULT, {"delivered": True, "late": True})
    assert (given["status"], given["undone"]) == ("cancelled", True)


def test_the_end_of_the_call_cuts_a_pause_short() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, failed(again_in_s=4.0, cancels=True))
    run.raise_event("call_ended", {})
    assert run.timers() == []
    run.complete(DELIVER_RESULT, {"delivered": True, "late": True})
    assert run.output == {"status": "error", "attempts": 1}
