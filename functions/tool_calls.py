"""The orchestration `tool_call`: run a durable tool, bring its one result to the session's inbox.

Its id is made of the session's and the call's, so that starting it twice runs it once. What a
tool answers is a result, failures included; only what could go better the next time is retried.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import azure.durable_functions as df

from functions.durable import Payload, activity, as_object, number, orchestrator, text
from functions.orchestrations import TOOL_CALL
from shared.errors import NotFoundError

if TYPE_CHECKING:
    from azure.durable_functions.models.Task import TaskBase

    from functions.dependencies import Dependencies

blueprint = df.Blueprint()

RUN_TOOL = "run_durable_tool"
DELIVER_RESULT = "deliver_tool_result"

_SPAN = "tool_call"
# Attempts at a tool whose outcome says that another may help, and the pauses between them.
_PAUSES_S = (1.0, 4.0)
# For failures around the tool: Redis, the agents' files. The tool has not run then. Half a minute outlasts
# a failover; a caller would not wait longer.
_RUN_RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1_500, max_number_of_attempts=20)
# Redis may be gone for some minutes; the result is brought when it is back.
_DELIVER_RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=2_000, max_number_of_attempts=60)


@orchestrator(blueprint, TOOL_CALL)
def tool_call(context: df.DurableOrchestrationContext) -> Generator[TaskBase, object, dict[str, object]]:
    """Input: session_id, tool_call_id, tool, arguments, agent, traceparent. Output: status, attempts."""
    given = dict(as_object(context.get_input()))
    started_at = context.current_utc_datetime
    attempts = 0
    try:
        while True:
            attempts += 1
            outcome = as_object((yield context.call_activity_with_retry(RUN_TOOL, _RUN_RETRY, given)))
            if not outcome.get("retryable") or attempts > len(_PAUSES_S):
                break
            pause = timedelta(seconds=_PAUSES_S[attempts - 1])
            yield context.create_timer(context.current_utc_datetime + pause)
    except Exception:  # the activity logged it; its text here can hold internals, so the model gets none
        outcome = _given_up(context.current_utc_datetime - started_at)
    yield context.call_activity_with_retry(
        DELIVER_RESULT,
        _DELIVER_RETRY,
        {
            "session_id": text(given, "session_id"),
            "tool_call_id": text(given, "tool_call_id"),
            "traceparent": text(given, "traceparent"),
            "status": text(outcome, "status"),
            "output": text(outcome, "output"),
            "duration_ms": number(outcome, "duration_ms"),
        },
    )
    return {"status": text(outcome, "status"), "attempts": attempts}


@activity(blueprint, RUN_TOOL, span_name=f"{_SPAN} execute")
async def run_durable_tool(payload: Payload, needs: Dependencies) -> Payload:
    """Attempt the tool once and return its outcome: status, output (JSON text), duration_ms, retryable."""
    from shared.ids import tool_instance_id
    from shared.tools.context import ToolContext
    from shared.tools.execution import run_tool, unknown_tool_outcome

    session_id, tool_call_id = text(payload, "session_id"), text(payload, "tool_call_id")
    try:
        session = await needs.sessions.get(session_id)
        agent = (await needs.agents()).get(session.agent)
    except NotFoundError:  # erased, or deployed without that agent: no attempt can help
        return _given_up(timedelta())
    tool = agent.tools.get(text(payload, "tool"))
    if tool is None:
        outcome = unknown_tool_outcome(text(payload, "tool"), sorted(agent.tools))
    elif not tool.idempotent and not await _first_run(needs, session_id, tool_call_id):
        return _cut_off()
    else:
        context = ToolContext(
            session_id=session_id,
            tool_call_id=tool_call_id,
            idempotency_key=tool_instance_id(session_id, tool_call_id),
            agent=agent.name,
            variables=session.variables,
        )
        outcome = await run_tool(tool, text(payload, "arguments"), context)
    return {
        "status": outcome.status.value,
        "output": outcome.output,
        "duration_ms": outcome.duration_ms,
        "retryable": outcome.retryable,
    }


async def _first_run(needs: Dependencies, session_id: str, tool_call_id: str) -> bool:
    """Note that the tool begins to run; return False when it has begun before.

    An activity runs again when its host died in the middle of it. The note lies among the session's
    keys, so it is erased with them.
    """
    from shared.store.connection import answered
    from shared.store.keys import SessionKeys

    key = SessionKeys(session_id).seen
    first = await answered(needs.redis.hsetnx(key, f"run:{tool_call_id}", "1"))
    await answered(needs.redis.expire(key, needs.settings.session_retention_s, nx=True))
    return bool(first)


@activity(blueprint, DELIVER_RESULT, span_name=f"{_SPAN} deliver")
async def deliver_tool_result(payload: Payload, needs: Dependencies) -> Payload:
    """Put the result into the session's inbox, once; a session that was erased needs none."""
    from shared.session.commands import ToolResult
    from shared.session.log import ToolStatus

    tool_call_id = text(payload, "tool_call_id")
    result = ToolResult(
        tool_call_id=tool_call_id,
        status=ToolStatus(text(payload, "status")),
        output=text(payload, "output"),
        duration_ms=number(payload, "duration_ms"),
    )
    try:
        entry_id = await needs.inbox.put(
            text(payload, "session_id"),
            result,
            dedupe=tool_call_id,
            traceparent=text(payload, "traceparent"),
        )
    except NotFoundError:
        return {"delivered": False}
    return {"delivered": bool(entry_id)}


def _given_up(took: timedelta) -> Mapping[str, object]:
    """Return the outcome for a tool that could not be run at all, for the model to act on."""
    message = "The tool could not be run now. Tell the caller, and offer another way or a later try."
    return _outcome("error", "tool_failed", message, took)


def _cut_off() -> Mapping[str, object]:
    """Return the outcome for a tool that must not run twice and was cut off in its one run."""
    message = "The tool was cut off; whether it took effect is not known. Do not repeat it; tell the caller."
    return _outcome("unknown", "tool_cut_off", message, timedelta())


def _outcome(status: str, code: str, message: str, took: timedelta) -> Mapping[str, object]:
    return {
        "status": status,
        "output": json.dumps({"error": {"code": code, "message": message}}),
        "duration_ms": took.total_seconds() * 1000,
        "retryable": False,
    }
