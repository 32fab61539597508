"""The orchestration `tool_call`: run a durable tool, bring its one result to the session's inbox.

Its id is made of the session's and the call's, so that starting it twice runs it once. What a
tool answers is a result, failures included; only what could go better the next time is retried.
A tool that needs a person's approval says so as the outcome of an attempt: it is then asked for,
waited for, and the tool is run again with it. The record in Redis is the truth about an approval;
events and timers only say when to look.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import azure.durable_functions as df

from functions.durable import Payload, as_object, number, orchestrator, text
from functions.orchestrations import CALL_ENDED, DECIDED, TOOL_CALL

if TYPE_CHECKING:
    from typing import TypeAlias

    from azure.durable_functions.models.Task import TaskBase, TimerTask

    Steps: TypeAlias = Generator[TaskBase, object, dict[str, object]]

blueprint = df.Blueprint()

RUN_TOOL = "run_durable_tool"
DELIVER_RESULT = "deliver_tool_result"
COMPENSATE = "compensate_tool"
NOTIFY = "notify_of_late_result"
ASK_APPROVAL = "ask_approval"
SETTLE_APPROVAL = "settle_approval"
ASK_IF_TAKEN = "ask_if_result_was_taken"

# For failures around the tool: Redis, the agents' files. The tool has not run then. Half a minute outlasts
# a failover; a caller would not wait longer.
_RUN_RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1_500, max_number_of_attempts=20)
# Redis may be gone for some minutes; what has to reach it does when it is back.
_STORE_RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=2_000, max_number_of_attempts=60)
# For functions of the tool's author that must get through: undoing, notifying.
_COMPANION_RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=2_000, max_number_of_attempts=5)
# How soon an approval is looked at although nothing has told of it. The pauses double, so that the history
# of a wait stays short: some forty looks in a week.
_FIRST_LOOK_S = 30.0
_LONGEST_PAUSE_S = 6 * 3600.0
# An approval expires by Redis's clock: when ours says so first, it is looked at some more times.
_CLOCKS_DIFFER_S = 2.0
_LATE_LOOKS = 5
# How soon, and how often, it is asked whether a result was taken by its call's owner; pauses double.
_FIRST_ASK_S = 2.0
_ASKS = 12


@orchestrator(blueprint, TOOL_CALL)
def tool_call(context: df.DurableOrchestrationContext) -> Steps:
    """Input: session_id, tool_call_id, tool, arguments, agent, traceparent. Output: status, attempts."""
    given = dict(as_object(context.get_input()))
    # An event that comes before somebody waits for it is kept by the engine.
    decided = context.wait_for_external_event(DECIDED)
    call_ended = context.wait_for_external_event(CALL_ENDED)

    outcome = yield from _attempts(context, given, call_ended)
    if asks := as_object(outcome.get("asks")):
        context.set_custom_status({"state": "waiting_for_approval"})
        decision = yield from _decision(context, given, outcome, asks, decided, call_ended)
        context.set_custom_status({"state": text(decision, "state")})
        asked_within = outcome.get("began")
        if text(decision, "state") == "approved":
            run = yield from _attempts(context, {**given, "approval": decision}, call_ended)
        else:
            run = _not_approved(decision)
        outcome = {**outcome, **run}
        outcome["began"] = bool(asked_within or outcome.get("began"))
    if _done_in_vain(outcome):
        outcome = {**outcome, **call_is_over()}

    undone: bool | None = None
    if outcome.get("compensates") and outcome.get("began") and text(outcome, "status") != "ok":
        try:
            yield context.call_activity_with_retry(COMPENSATE, _COMPANION_RETRY, given)
            undone = True
        except Exception:  # the activity logged it; a person has to look, which the session's log says
            undone = False
        outcome["output"] = _with_undone(text(outcome, "output"), undone=undone)
    delivered = yield context.call_activity_with_retry(
        DELIVER_RESULT,
        _STORE_RETRY,
        {
            "session_id": text(given, "session_id"),
            "tool_call_id": text(given, "tool_call_id"),
            "tool": text(given, "tool"),
            "traceparent": text(given, "traceparent"),
            "status": text(outcome, "status"),
            "output": text(outcome, "output"),
            "duration_ms": number(outcome, "duration_ms"),
            "facts": as_object(outcome.get("facts")),
            "redact": outcome.get("redact", []),
            "undone": undone,
        },
    )
    if outcome.get("notifies") and (yield from _came_late(context, given, as_object(delivered))):
        told = {**given, "status": text(outcome, "status"), "output": text(outcome, "output")}
        try:
            yield context.call_activity_with_retry(NOTIFY, _COMPANION_RETRY, told)
        except Exception:  # the activity logged it; the session's log has the result
            return {"status": text(outcome, "status"), "attempts": outcome.get("attempts"), "notified": False}
    return {"status": text(outcome, "status"), "attempts": outcome.get("attempts")}


def _attempts(context: df.DurableOrchestrationContext, given: Payload, call_ended: TaskBase) -> Steps:
    """Run the tool until it has an outcome, or until another attempt is of no use."""
    began_at = context.current_utc_datetime
    attempt, began = 0, False
    while True:
        attempt += 1
        elapsed_s = (context.current_utc_datetime - began_at).total_seconds()
        try:
            outcome = as_object(
                (
                    yield context.call_activity_with_retry(
                        RUN_TOOL, _RUN_RETRY, {**given, "attempt": attempt, "elapsed_s": elapsed_s}
                    )
                )
            )
        except Exception:  # the activity logged it; its text here can hold internals, so the model gets none
            outcome = given_up(context.current_utc_datetime - began_at)
        began = began or bool(outcome.get("began"))
        again_in_s = number(outcome, "again_in_s")
        if not again_in_s or outcome.get("call_over"):
            return {**outcome, "began": began, "attempts": attempt}
        timer = _timer(context, again_in_s)
        if outcome.get("cancels"):
            first = yield context.task_any([timer, call_ended])
            if first is call_ended:
                timer.cancel()
                return {**outcome, "began": began, "attempts": attempt}
        else:
            yield timer


def _decision(
    context: df.DurableOrchestrationContext,
    given: Payload,
    outcome: Payload,
    asks: Payload,
    decided: TaskBase,
    call_ended: TaskBase,
) -> Steps:
    """Ask a person, and wait. state: approved, rejected, expired or withdrawn; with by and comment."""
    about = {**given, **asks, "cancels": outcome.get("cancels"), "redact": outcome.get("redact", [])}
    until = context.current_utc_datetime + timedelta(seconds=number(asks, "expires_s"))
    asked, pause_s, late_looks = False, _FIRST_LOOK_S, 0
    while True:
        too_late = late_looks >= _LATE_LOOKS
        look = SETTLE_APPROVAL if asked or too_late else ASK_APPROVAL
        try:
            found = as_object(
                (yield context.call_activity_with_retry(look, _STORE_RETRY, {**about, "withdraw": too_late}))
            )
            asked = True
        except Exception:  # Redis is away for longer than that; the wait is not over for it
            if too_late:
                return {"state": "expired"}
            found, pause_s = {}, _FIRST_LOOK_S
        if text(found, "state") not in ("", "pending"):
            return dict(found)
        left_s = (until - context.current_utc_datetime).total_seconds()
        late_looks += left_s <= 0
        timer = _timer(context, min(pause_s, left_s) if left_s > 0 else _CLOCKS_DIFFER_S)
        waits = [decided, call_ended] if outcome.get("cancels") else [decided]
        first = yield context.task_any([*(wait for wait in waits if not wait.is_completed), timer])
        if first is not timer:
            timer.cancel()
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _came_late(
    context: df.DurableOrchestrationContext, given: Payload, delivered: Payload
) -> Generator[TaskBase, object, bool]:
    """Return whether the call had ended before its owner could take the result: both may happen at once."""
    pause_s = _FIRST_ASK_S
    for _ in range(_ASKS):
        if (late := delivered.get("late")) is not None:
            return bool(late)
        yield _timer(context, pause_s)
        pause_s *= 2
        delivered = as_object((yield context.call_activity_with_retry(ASK_IF_TAKEN, _STORE_RETRY, given)))
    return False


def _timer(context: df.DurableOrchestrationContext, after_s: float) -> TimerTask:
    timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=after_s))
    return cast("TimerTask", timer)


def _done_in_vain(outcome: Payload) -> bool:
    """Return whether the tool was done for a call that had ended, and its author wants that undone."""
    return bool(outcome.get("call_over") and outcome.get("compensates")) and text(outcome, "status") == "ok"


def given_up(took: timedelta) -> Mapping[str, object]:
    """Return the outcome for a tool that could not be run at all, for the model to act on."""
    message = "The tool could not be run now. Tell the caller, and offer another way or a later try."
    return _outcome("error", "tool_failed", message, took)


def _not_approved(decision: Payload) -> Mapping[str, object]:
    match text(decision, "state"):
        case "rejected":
            said = f" Their words: {text(decision, 'comment')}" if text(decision, "comment") else ""
            message = (
                f"A person has looked at this and refused it. Tell the caller; do not try it again.{said}"
            )
            return _outcome("error", "approval_rejected", message, timedelta())
        case "withdrawn":
            return call_is_over()
        case _:
            message = "Nobody decided in time, so it was not done. Tell the caller; they may ask for it anew."
            return _outcome("error", "approval_expired", message, timedelta())


def call_is_over() -> Mapping[str, object]:
    message = "The call ended before this was done, so it was cancelled."
    return _outcome("cancelled", "call_ended", message, timedelta())


def _with_undone(output: str, *, undone: bool) -> str:
    """Return the output of a failed tool with what became of its effects."""
    error = as_object(as_object(output).get("error"))
    told = "What it may have done was undone." if undone else "Undoing it failed; a person has to look at it."
    return json.dumps({"error": {**error, "message": f"{text(error, 'message')} {told}".strip()}})


def _outcome(status: str, code: str, message: str, took: timedelta) -> Mapping[str, object]:
    return {
        "status": status,
        "output": json.dumps({"error": {"code": code, "message": message}}),
        "duration_ms": took.total_seconds() * 1000,
        "again_in_s": None,
    }
