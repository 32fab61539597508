"""Orchestrators, activities and an entity: every Durable feature, small."""

import json
import os
import time
from datetime import timedelta

import azure.durable_functions as df
import journal

bp = df.Blueprint()


def _soon(context: df.DurableOrchestrationContext, seconds: float) -> object:
    return context.create_timer(context.current_utc_datetime + timedelta(seconds=seconds))


@bp.activity_trigger(input_name="name")
def hello(name: str) -> str:
    return f"Hello {name}!"


@bp.activity_trigger(input_name="value")
async def double(value: int) -> int:
    return value * 2


@bp.activity_trigger(input_name="given")
def fails_until(given: dict) -> str:
    """Fail until the attempt that is given; attempts are counted by key."""
    attempt = journal.count(given["key"])
    if attempt < given["succeeds_at"]:
        raise ValueError(f"CODE-17 attempt {attempt}")
    return f"{given['key']} succeeded"


@bp.activity_trigger(input_name="given")
def slow_step(given: dict) -> str:
    """Sleep while a file exists (the test removes it), then answer."""
    journal.write(f"slow {given['key']}")
    deadline = time.monotonic() + 15
    while os.path.exists(given["until_gone"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return f"done {given['key']}"


@bp.activity_trigger(input_name="nothing")
def returns_nothing(nothing: object) -> None:
    journal.write("returned nothing")


@bp.activity_trigger(input_name="given", activity="named_by_trigger")
def trace_seen(given: str, context) -> str:
    return context.trace_context.trace_parent


@bp.orchestration_trigger(context_name="context")
def say_hello(context: df.DurableOrchestrationContext):
    result = yield context.call_activity("hello", context.get_input()["name"])
    return result


@bp.orchestration_trigger(context_name="context")
def chain(context: df.DurableOrchestrationContext):
    value = context.get_input()["value"]
    for _ in range(context.get_input()["steps"]):
        value = yield context.call_activity("double", value)
    nothing = yield context.call_activity("returns_nothing", None)
    return [value, nothing]


@bp.orchestration_trigger(context_name="context")
def fan_out(context: df.DurableOrchestrationContext):
    calls = [context.call_activity("double", i) for i in range(context.get_input()["count"])]
    results = yield context.task_all(calls)
    return sum(results)


@bp.orchestration_trigger(context_name="context")
def event_or_timer(context: df.DurableOrchestrationContext):
    timer = _soon(context, context.get_input()["seconds"])
    event = context.wait_for_external_event("Approval")
    winner = yield context.task_any([event, timer])
    if winner is timer:
        return "timed out"
    timer.cancel()
    data = event.result
    return ["approved", json.loads(data) if isinstance(data, str) else data]


@bp.orchestration_trigger(context_name="context")
def collect_events(context: df.DurableOrchestrationContext):
    """Wait for names in turn, after a pause in which the events are buffered."""
    yield _soon(context, context.get_input()["pause"])
    got = []
    for name in context.get_input()["names"]:
        data = yield context.wait_for_external_event(name)
        got.append(data)
    return got


@bp.orchestration_trigger(context_name="context")
def retried(context: df.DurableOrchestrationContext):
    given = context.get_input()
    options = df.RetryOptions(given.get("delay_ms", 20), given["attempts"])
    result = yield context.call_activity_with_retry("fails_until", options, given)
    return result


@bp.orchestration_trigger(context_name="context")
def two_retries_and_a_call(context: df.DurableOrchestrationContext):
    key = context.get_input()["key"]
    calls = [
        context.call_activity_with_retry(
            "fails_until", df.RetryOptions(20, 4), {"key": f"{key}-a", "succeeds_at": 3}
        ),
        context.call_activity("hello", key),
        context.call_activity_with_retry(
            "fails_until", df.RetryOptions(5, 4), {"key": f"{key}-b", "succeeds_at": 4}
        ),
    ]
    results = yield context.task_all(calls)
    after = yield context.call_activity("double", 21)
    return [*results, after]


@bp.orchestration_trigger(context_name="context")
def handles_failure(context: df.DurableOrchestrationContext):
    try:
        yield context.call_activity("fails_until", {"key": context.get_input()["key"], "succeeds_at": 99})
    except Exception as error:  # the orchestrator sees only text
        return str(error).split(" \n ")[0]


@bp.orchestration_trigger(context_name="context")
def parent(context: df.DurableOrchestrationContext):
    given = context.get_input()
    by_default = yield context.call_sub_orchestrator("say_hello", {"name": "child"})
    by_id = yield context.call_sub_orchestrator(
        "say_hello", {"name": "named"}, f"{context.instance_id}-named"
    )
    try:
        yield context.call_sub_orchestrator("raises_at_once", {"text": "from the child"})
        failure = "no failure"
    except Exception as error:
        failure = str(error).split(" \n ")[0]
    return [by_default, by_id, failure, given]


@bp.orchestration_trigger(context_name="context")
def parent_of_slow_child(context: df.DurableOrchestrationContext):
    result = yield context.call_sub_orchestrator(
        "slow_orchestration", context.get_input(), f"{context.instance_id}-child"
    )
    return ["parent", result]


@bp.orchestration_trigger(context_name="context")
def slow_orchestration(context: df.DurableOrchestrationContext):
    first = yield context.call_activity("slow_step", context.get_input())
    second = yield context.call_activity("hello", context.get_input()["key"])
    return [first, second]


@bp.orchestration_trigger(context_name="context")
def parent_with_retried_child(context: df.DurableOrchestrationContext):
    given = context.get_input()
    result = yield context.call_sub_orchestrator_with_retry(
        "fails_with_activity", df.RetryOptions(10, 3), given
    )
    return result


@bp.orchestration_trigger(context_name="context")
def fails_with_activity(context: df.DurableOrchestrationContext):
    result = yield context.call_activity("fails_until", context.get_input())
    return result


@bp.orchestration_trigger(context_name="context")
def parent_of_failing_child(context: df.DurableOrchestrationContext):
    first = yield context.call_activity("hello", "first")
    second = yield context.call_sub_orchestrator("fails_with_activity", context.get_input())
    return [first, second]


@bp.orchestration_trigger(context_name="context")
def raises_at_once(context: df.DurableOrchestrationContext):
    raise RuntimeError(context.get_input()["text"])
    yield


@bp.orchestration_trigger(context_name="context")
def counts_down(context: df.DurableOrchestrationContext):
    """Continue as new until zero; an event per round moves it on."""
    left = context.get_input()["left"]
    if left == 0:
        return "lift-off"
    yield context.call_activity("hello", str(left))
    context.continue_as_new({"left": left - 1})


@bp.orchestration_trigger(context_name="context")
def reports_progress(context: df.DurableOrchestrationContext):
    context.set_custom_status({"step": 1})
    yield context.wait_for_external_event("Go")
    context.set_custom_status({"step": 2})
    yield context.wait_for_external_event("Finish")
    return "reported"


@bp.orchestration_trigger(context_name="context")
def calls_missing_activity(context: df.DurableOrchestrationContext):
    yield context.call_activity("nope", None)


@bp.orchestration_trigger(context_name="context")
def calls_http(context: df.DurableOrchestrationContext):
    response = yield context.call_http("GET", context.get_input()["uri"])
    return [response["statusCode"], response["content"]]


@bp.orchestration_trigger(context_name="context")
def uses_counter(context: df.DurableOrchestrationContext):
    counter = df.EntityId("Counter", context.get_input()["key"])
    context.signal_entity(counter, "add", 2)
    yield context.call_entity(counter, "add", 3)
    value = yield context.call_entity(counter, "get")
    try:
        yield context.call_entity(counter, "explode")
        failure = "no failure"
    except Exception as error:
        failure = str(error)
    return [value, failure]


@bp.entity_trigger(context_name="context", entity_name="Counter")
def counter_entity(context: df.DurableEntityContext):
    value = context.get_state(lambda: 0)
    match context.operation_name:
        case "add":
            value += context.get_input()
            context.set_state(value)
            context.set_result(value)
        case "get":
            context.set_result(value)
        case "reset":
            context.destruct_on_exit()
        case other:
            raise ValueError(f"no operation {other}")


@bp.orchestration_trigger(context_name="context")
def sees_trace(context: df.DurableOrchestrationContext):
    seen = yield context.call_activity("named_by_trigger", "x")
    return seen


@bp.orchestration_trigger(context_name="context")
def tells_time(context: df.DurableOrchestrationContext):
    before = context.current_utc_datetime
    yield _soon(context, 0.05)
    first, second = context.new_uuid(), context.new_uuid()
    return [(context.current_utc_datetime - before).total_seconds() >= 0.05, first != second]
