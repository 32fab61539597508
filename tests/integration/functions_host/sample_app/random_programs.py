"""An orchestrator that runs a program given as data: the fuzz test makes up the programs.

A program is a list of steps. Steps with one task may stand alone or in `all` and `any`.
Only what is safe with the SDK is expressible by the tests' generator: a retried task is never
left unfinished in `any`, nor put beside a task that may fail in `all`.
"""

import json
import os
import time
import urllib.request
from datetime import timedelta

import azure.durable_functions as df
import journal

bp = df.Blueprint()


@bp.activity_trigger(input_name="given")
def fuzz_value(given: dict) -> object:
    time.sleep(given.get("ms", 0) / 1000)
    return given["value"]


@bp.activity_trigger(input_name="text")
def fuzz_fails(text: str) -> None:
    raise ValueError(text)


@bp.activity_trigger(input_name="given")
async def fuzz_flaky(given: dict) -> str:
    attempt = journal.count(given["key"])
    if attempt < given["succeeds_at"]:
        raise ValueError(f"attempt {attempt}")
    return given["key"]


@bp.activity_trigger(input_name="given")
def fuzz_raise_event(given: dict) -> None:
    """Raise an event to an instance through the public API."""
    url = (
        f"http://{os.environ['WEBSITE_HOSTNAME']}/runtime/webhooks/durabletask/instances/"
        f"{given['instance']}/raiseEvent/{given['name']}"
    )
    body = json.dumps(given["data"]).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


@bp.entity_trigger(context_name="context")
def fuzz_sum(context: df.DurableEntityContext):
    total = context.get_state(lambda: 0) + context.get_input()
    context.set_state(total)
    context.set_result(total)


@bp.orchestration_trigger(context_name="context")
def fuzz_flaky_child(context: df.DurableOrchestrationContext):
    result = yield context.call_activity("fuzz_flaky", context.get_input())
    return result


@bp.orchestration_trigger(context_name="context")
def fuzz_program(context: df.DurableOrchestrationContext):
    given = context.get_input()
    results = list(given["results"])
    for index, step in enumerate(given["program"]):
        if step["do"] == "continue":
            context.continue_as_new({"program": given["program"][index + 1 :], "results": results})
            return None
        results.append((yield from _perform(context, step)))
    return results


def _perform(context: df.DurableOrchestrationContext, step: dict):
    match step["do"]:
        case "signal":
            context.signal_entity(df.EntityId("fuzz_sum", step["key"]), "add", step["value"])
            return "signalled"
        case "event":
            raise_it = context.call_activity(
                "fuzz_raise_event",
                {"instance": context.instance_id, "name": step["name"], "data": step["data"]},
            )
            got = yield context.task_all([context.wait_for_external_event(step["name"]), raise_it])
            return got[0]
        case "any":
            winner = yield context.task_any([_task(context, m) for m in step["members"]])
            return _text(winner.result) if isinstance(winner.result, Exception) else winner.result
        case "all":
            waited = context.task_all([_task(context, m) for m in step["members"]])
        case _:
            waited = _task(context, step)
    try:
        return (yield waited)
    except Exception as error:
        return _text(error)


def _text(error: Exception) -> str:
    return str(error).split(" \n ")[0]


def _task(context: df.DurableOrchestrationContext, step: dict):
    match step["do"]:
        case "value":
            return context.call_activity("fuzz_value", step)
        case "fail":
            return context.call_activity("fuzz_fails", step["text"])
        case "retry":
            return context.call_activity_with_retry(
                "fuzz_flaky", df.RetryOptions(step["ms"], step["attempts"]), step
            )
        case "timer":
            return context.create_timer(context.current_utc_datetime + timedelta(milliseconds=step["ms"]))
        case "child":
            return context.call_sub_orchestrator("fuzz_program", {"program": step["program"], "results": []})
        case "retried_child":
            return context.call_sub_orchestrator_with_retry(
                "fuzz_flaky_child", df.RetryOptions(step["ms"], step["attempts"]), step
            )
        case "entity":
            return context.call_entity(df.EntityId("fuzz_sum", step["key"]), "add", step["value"])
        case other:
            raise ValueError(f"no step {other}")
