"""Telephone tools: what the model wants of the call is asked of the call's carrier, and the model is told.

A transfer is the orchestration `transfer_call`, whoever asks for it; the other tools are `call_tool`. Both
have the id of the tool's call, so that starting one twice runs it once, whichever worker does. The carrier
knows a request that is repeated by its operation, which is named like the tool's call.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import azure.durable_functions as df

from functions.durable import Payload, activity, as_object, orchestrator, text
from functions.orchestrations import CALL_TOOL, TOOL_CALL, TRANSFER_CALL
from functions.tool_calls import DELIVER_RESULT
from shared.errors import NotFoundError, SidetoneError
from shared.ids import tool_instance_id

if TYPE_CHECKING:
    from azure.durable_functions.models.Task import TaskBase

    from functions.dependencies import Dependencies
    from shared.agents.agent import Agent
    from shared.agents.call_tools import CallRequest
    from shared.session.log import CallEventKind, ToolStatus
    from shared.session.model import Session
    from shared.telephony.legs import CarrierLeg

blueprint = df.Blueprint()

ACT_ON_CALL = "act_on_call"

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1_000, max_number_of_attempts=4)
# Redis may be gone for some minutes; what has to reach the session does when it is back.
DELIVER_RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=2_000, max_number_of_attempts=60)
# How long somebody who is called into the call may let it ring.
_RING_S = 30
# What a carrier says of these is fit for the model; of all else it is told what to do instead.
_TOLD_AS_IT_IS = frozenset({"unsupported_by_carrier"})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the model wants of a call that is up. operation_id: names it to the carrier."""

    session: Session
    agent: Agent
    request: CallRequest
    operation_id: str


async def orchestration_of(needs: Dependencies, agent: str, tool: str) -> str:
    """Return which orchestration runs a tool of `agent`; TOOL_CALL for what is no telephone tool."""
    from shared.agents.call_tools import CallTool, TransferCall

    try:
        found = (await needs.agents()).get(agent).tools.get(tool)
    except NotFoundError:
        return TOOL_CALL
    if not isinstance(found, CallTool):
        return TOOL_CALL
    return TRANSFER_CALL if found.wants is TransferCall else CALL_TOOL


def operation_of(session_id: str, tool_call_id: str) -> str:
    """Return the operation that a tool's call is, so that `<session>.<operation>` is its instance id."""
    return tool_instance_id(session_id, tool_call_id).removeprefix(f"{session_id}.")


@orchestrator(blueprint, CALL_TOOL)
def call_tool(context: df.DurableOrchestrationContext) -> Generator[TaskBase, object, dict[str, object]]:
    """Input: session_id, tool_call_id, tool, arguments, agent, traceparent. Output: status."""
    given = dict(as_object(context.get_input()))
    try:
        outcome = as_object((yield context.call_activity_with_retry(ACT_ON_CALL, RETRY, given)))
    except Exception:  # the activity logged it; its text here can hold internals, so the model gets none
        outcome = failed("call_tool_failed")
    yield context.call_activity_with_retry(DELIVER_RESULT, DELIVER_RETRY, delivery(given, outcome))
    return {"status": text(outcome, "status")}


@activity(blueprint, ACT_ON_CALL, span_name="call_tool act")
async def act_on_call(payload: Payload, needs: Dependencies) -> Payload:
    """Ask the carrier for what the model wants; return its outcome: status and output (JSON text)."""
    from shared.agents.call_tools import AddParticipant, HoldCall, ResumeCall, SendDigits
    from shared.session.log import CallEventKind as Kind

    wanted = await wanted_of(needs, payload)
    if not isinstance(wanted, Wanted):
        return wanted
    operation_id = wanted.operation_id
    match wanted.request:
        case SendDigits(digits=digits):
            return await _asked(
                needs,
                wanted,
                lambda leg: leg.send_digits(digits, operation_id),
                Kind.DIGITS_ASKED,
                Kind.DIGITS_FAILED,
                {"digits": "on their way"},
            )
        case HoldCall():
            held = {"caller": "on hold"}
            return await _asked(needs, wanted, lambda leg: leg.hold(), Kind.HELD, Kind.HOLD_FAILED, held)
        case ResumeCall():
            back = {"caller": "hears you"}
            return await _asked(needs, wanted, lambda leg: leg.resume(), Kind.RESUMED, Kind.HOLD_FAILED, back)
        case AddParticipant(who=who):
            target = wanted.agent.participants[who].target
            try:
                (await needs.inbound_policy()).outbound.check(target)
            except SidetoneError as error:
                return failed(error.code)
            return await _asked(
                needs,
                wanted,
                lambda leg: leg.add_participant(target, operation_id, ring_s=_RING_S),
                Kind.PARTICIPANT_ASKED,
                Kind.PARTICIPANT_FAILED,
                {who: "is being called; you are told when they come, or do not"},
            )
        case _:
            return failed("call_tool_failed")  # the rest is not done by an activity of its own


async def wanted_of(needs: Dependencies, payload: Payload) -> Wanted | Payload:
    """Return what a telephone tool's call wants, or the outcome where it can't be had."""
    from shared.agents.call_tools import CallTool
    from shared.session.log import ToolStatus
    from shared.tools.parameters import InvalidArgumentsError

    session_id = text(payload, "session_id")
    try:
        session = await needs.sessions.get(session_id)
        agent = (await needs.agents()).get(text(payload, "agent") or session.agent)
    except NotFoundError:  # erased, or deployed without that agent
        return failed("call_not_found")
    tool = agent.tools.get(text(payload, "tool"))
    if not isinstance(tool, CallTool):
        return failed("unknown_tool")
    try:
        request = tool.request(text(payload, "arguments"))
    except InvalidArgumentsError as error:
        wrong = "; ".join(f"{found.field or 'arguments'}: {found.problem}" for found in error.problems)
        return failed("invalid_arguments", f"{wrong}.", status=ToolStatus.INVALID)
    if not session.live or not session.call_id:
        return failed("call_not_established")
    operation_id = operation_of(session_id, text(payload, "tool_call_id"))
    return Wanted(session=session, agent=agent, request=request, operation_id=operation_id)


async def _asked(
    needs: Dependencies,
    wanted: Wanted,
    request: Callable[[CarrierLeg], Awaitable[None]],
    asked: CallEventKind,
    refused: CallEventKind,
    done: Mapping[str, str],
) -> Payload:
    from functions.call_control import ask_carrier
    from shared.session.log import ToolStatus

    try:
        await ask_carrier(needs, wanted.session, request, asked, refused, wanted.operation_id)
    except SidetoneError as error:
        return refusal(error)
    return outcome_of(ToolStatus.OK, done)


def refusal(error: SidetoneError) -> Payload:
    """Return the outcome of what the carrier, or the policy, has refused."""
    return failed(error.code, error.detail if error.code in _TOLD_AS_IT_IS else "")


def failed(code: str, message: str = "", *, status: ToolStatus | None = None) -> Payload:
    """Return the outcome of what did not work, for the model to act on."""
    from shared.session.log import ToolStatus

    told = (
        message or "That can't be done now, and the caller is still with you. Tell them; offer another way."
    )
    return outcome_of(status or ToolStatus.ERROR, {"error": {"code": code, "message": told}})


def outcome_of(status: ToolStatus, output: Mapping[str, object]) -> Payload:
    """Return an outcome: status, and output as JSON text."""
    return {"status": status.value, "output": json.dumps(output)}


def delivery(given: Payload, outcome: Payload) -> dict[str, object]:
    """Return what brings the outcome of a tool's call to its session."""
    named = {name: text(given, name) for name in ("session_id", "tool_call_id", "traceparent")}
    brought = {"status": text(outcome, "status"), "output": text(outcome, "output")}
    return {**named, **brought, "duration_ms": 0.0}
