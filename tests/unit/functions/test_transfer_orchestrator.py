"""transfer_call and call_tool, replayed by the real Durable SDK: done once, and told how it came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from functions.call_tools import ACT_ON_CALL, call_tool
from functions.orchestrations import TRANSFER_RESULT
from functions.tool_calls import DELIVER_RESULT
from functions.transfers import ANNOUNCE, HAND_OVER, HEAR_OUT, PREPARE, TELL, transfer_call
from tests.support.orchestration import OrchestrationDriver

SESSION = "ses_00000000000000000000000000"
BY_API = {"session_id": SESSION, "operation_id": "op_1", "target": "+15550300", "announcement": "One moment."}
BY_TOOL = {
    "session_id": SESSION,
    "tool_call_id": "call_1",
    "tool": "transfer_call",
    "arguments": '{"to": "billing"}',
    "agent": "desk",
    "traceparent": "",
}
PREPARED = {"operation_id": "call_1", "target": "+15550300", "announcement": "One moment."}
ASKED = {"outcome": "asked", "settled_within_s": 180}
REFUSED = {"status": "error", "output": '{"error":{"code":"unsupported_by_carrier"}}'}


def announced(given: Mapping[str, object]) -> OrchestrationDriver:
    """Go as far as the request to the carrier."""
    run = OrchestrationDriver(transfer_call, given)
    if "tool" in given:
        run.complete(PREPARE, PREPARED)
    assert run.complete(ANNOUNCE, {"entry_id": "1-0"})["announcement"] == "One moment."
    assert run.complete(HEAR_OUT, {"outcome": "heard"})["entry_id"] == "1-0"
    return run


def told(run: OrchestrationDriver) -> Any:
    return run.complete(TELL, {"told": True})


@pytest.mark.parametrize("given", [BY_API, BY_TOOL])
def test_how_it_came_out_is_told(given: Mapping[str, object]) -> None:
    run = announced(given)
    assert run.complete(HAND_OVER, ASKED)["target"] == "+15550300"
    assert [timer.after_s for timer in run.timers()] == [180]
    run.raise_event(TRANSFER_RESULT, {"outcome": "failed", "reason": "busy"})
    assert run.timers() == []
    payload = told(run)
    assert (payload["outcome"], payload["reason"]) == ("failed", "busy")
    assert payload.get("tool_call_id", "") == given.get("tool_call_id", "")
    assert run.output == {"session_id": SESSION, "outcome": "failed"}


def test_a_result_that_comes_before_the_carriers_answer_counts() -> None:
    run = announced(BY_TOOL)
    run.raise_event(TRANSFER_RESULT, {"outcome": "accepted"})
    run.complete(HAND_OVER, ASKED)
    assert told(run)["outcome"] == "accepted"
    assert run.output["outcome"] == "accepted"


def test_where_nobody_tells_it_is_not_known() -> None:
    run = announced(BY_TOOL)
    run.complete(HAND_OVER, {"outcome": "asked", "settled_within_s": 15})
    run.fire_timer()
    assert told(run)["outcome"] == "unknown"


def test_a_request_whose_answer_was_lost_is_not_sent_again() -> None:
    run = announced(BY_TOOL)
    run.fail(HAND_OVER)
    assert run.activities() == []
    run.raise_event(TRANSFER_RESULT, {"outcome": "accepted"})
    assert told(run)["outcome"] == "accepted"


def test_a_carrier_that_refuses_is_told_at_once() -> None:
    run = announced(BY_TOOL)
    run.complete(HAND_OVER, {"outcome": "refused", "code": "carrier_rejected"})
    assert told(run)["outcome"] == "refused"


def test_what_can_not_be_is_answered_before_anything_is_announced() -> None:
    run = OrchestrationDriver(transfer_call, BY_TOOL)
    run.complete(PREPARE, REFUSED)
    delivered = run.complete(DELIVER_RESULT, {"delivered": True})
    assert (delivered["tool_call_id"], delivered["output"]) == ("call_1", REFUSED["output"])
    assert run.output == {"session_id": SESSION, "outcome": "refused"}


def test_without_an_announcement_the_caller_is_handed_over_at_once() -> None:
    run = OrchestrationDriver(transfer_call, BY_TOOL)
    run.complete(PREPARE, {**PREPARED, "announcement": ""})
    run.complete(HAND_OVER, ASKED)
    run.raise_event(TRANSFER_RESULT, {"outcome": "accepted"})
    told(run)
    assert run.done


def test_a_call_that_ends_meanwhile_is_not_handed_over() -> None:
    run = OrchestrationDriver(transfer_call, BY_API)
    run.complete(ANNOUNCE, {"entry_id": "1-0"})
    run.complete(HEAR_OUT, {"outcome": "over"})
    assert run.output == {"session_id": SESSION, "outcome": "over"}


def test_another_tool_is_done_and_answered() -> None:
    run = OrchestrationDriver(call_tool, {**BY_TOOL, "tool": "hold_call", "arguments": "{}"})
    run.complete(ACT_ON_CALL, {"status": "ok", "output": '{"caller":"on hold"}'})
    delivered = run.complete(DELIVER_RESULT, {"delivered": True})
    assert (delivered["status"], delivered["output"]) == ("ok", '{"caller":"on hold"}')
    assert run.output == {"status": "ok"}


def test_one_that_can_not_be_done_is_answered_too() -> None:
    run = OrchestrationDriver(call_tool, {**BY_TOOL, "tool": "hold_call", "arguments": "{}"})
    run.fail(ACT_ON_CALL, times=4)
    delivered = run.complete(DELIVER_RESULT, {"delivered": True})
    assert delivered["status"] == "error"
    assert "call_tool_failed" in delivered["output"]
    assert "boom" not in delivered["output"]
