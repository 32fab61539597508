"""tool_call, replayed by the real Durable SDK: the session always gets exactly one result."""

from __future__ import annotations

import json
from typing import Any

from functions.tool_calls import DELIVER_RESULT, RUN_TOOL, tool_call
from tests.support.orchestration import OrchestrationDriver

GIVEN = {
    "session_id": "ses_00000000000000000000000000",
    "tool_call_id": "call_1",
    "tool": "book_appointment",
    "arguments": '{"day":"tuesday"}',
    "agent": "member_services",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
OK = {"status": "ok", "output": '{"booked":true}', "duration_ms": 12.5, "retryable": False}


def failed(**more: Any) -> dict[str, Any]:
    return {"status": "error", "output": '{"error":{}}', "duration_ms": 3.0, "retryable": False, **more}


def test_a_result_is_brought_to_the_session() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    assert run.complete(RUN_TOOL, OK) == GIVEN
    assert run.complete(DELIVER_RESULT, {"delivered": True}) == {
        "session_id": GIVEN["session_id"],
        "tool_call_id": "call_1",
        "traceparent": GIVEN["traceparent"],
        "status": "ok",
        "output": '{"booked":true}',
        "duration_ms": 12.5,
    }
    assert run.output == {"status": "ok", "attempts": 1}


def test_a_refusal_of_the_tool_is_a_result_and_not_tried_again() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, failed())
    assert run.complete(DELIVER_RESULT, {"delivered": True})["status"] == "error"
    assert run.output["attempts"] == 1


def test_what_may_go_better_is_tried_again_after_growing_pauses() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, failed(retryable=True))
    assert [timer.after_s for timer in run.timers()] == [1.0]
    run.fire_timer()
    run.complete(RUN_TOOL, failed(retryable=True))
    assert [timer.after_s for timer in run.timers()] == [4.0]
    run.fire_timer()
    run.complete(RUN_TOOL, OK)
    assert run.complete(DELIVER_RESULT, {"delivered": True})["status"] == "ok"
    assert run.output == {"status": "ok", "attempts": 3}


def test_the_last_attempts_own_words_reach_the_model() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    for _ in range(2):
        run.complete(RUN_TOOL, failed(retryable=True, output='{"error":{"code":"early"}}'))
        run.fire_timer()
    run.complete(RUN_TOOL, failed(retryable=True, output='{"error":{"code":"last"}}', status="timeout"))
    given = run.complete(DELIVER_RESULT, {"delivered": True})
    assert (given["status"], given["output"]) == ("timeout", '{"error":{"code":"last"}}')


def test_a_tool_that_cannot_be_run_at_all_still_gets_a_result_without_internals() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    for _ in range(20):
        run.fail(RUN_TOOL)
    given = run.complete(DELIVER_RESULT, {"delivered": True})
    assert given["status"] == "error"
    assert json.loads(given["output"])["error"]["code"] == "tool_failed"
    assert "boom" not in given["output"]
    assert run.output == {"status": "error", "attempts": 1}


def test_delivery_is_repeated_while_redis_is_away() -> None:
    run = OrchestrationDriver(tool_call, GIVEN)
    run.complete(RUN_TOOL, OK)
    for _ in range(40):
        run.fail(DELIVER_RESULT)
    run.complete(DELIVER_RESULT, {"delivered": True})
    assert run.done
