"""The orchestration `transfer_call`: announce, wait until it was heard, hand over, tell of a failure.

Whoever asks for a transfer gets it this way: the API, and an agent by its tool, which is told how it came
out. The announcement is a command to the session, so it is said by whoever owns it; the log tells when it
was heard.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import azure.durable_functions as df

from functions.call_tools import (
    DELIVER_RETRY,
    RETRY,
    Wanted,
    delivery,
    failed,
    outcome_of,
    refusal,
    wanted_of,
)
from functions.durable import Payload, activity, as_object, number, orchestrator, text
from functions.orchestrations import TRANSFER_CALL, TRANSFER_RESULT
from functions.tool_calls import DELIVER_RESULT
from shared.errors import NotFoundError, SidetoneError

if TYPE_CHECKING:
    from azure.durable_functions.models.Task import TaskBase, TimerTask

    from functions.dependencies import Dependencies
    from shared.session.log import LoggedEntry

blueprint = df.Blueprint()

PREPARE = "prepare_transfer"
ANNOUNCE = "announce_transfer"
HEAR_OUT = "hear_out_announcement"
HAND_OVER = "hand_over_call"
TELL = "tell_transfer_outcome"

_SPAN = "transfer_call"
# A caller who talks all the time keeps the agent from announcing anything: then it goes without.
_SAID_WITHIN_S = 20.0
# How fast agents speak, where nothing tells when they were heard; rather too slow than to cut them short.
_CHARS_PER_S = 13
_BREATH_S = 0.5
# How much longer it is waited for where the line tells, and has not.
_TOLD_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.1
# How long a carrier that tells how a transfer comes out may take for that; and how long a call goes on whose
# carrier does not tell.
_SETTLED_WITHIN_S = 180.0
_GONE_WITHIN_S = 15.0
_STILL_HERE = (
    "The transfer was asked for, and the caller is still on the line. Whether it takes place is not known."
)


@orchestrator(blueprint, TRANSFER_CALL)
def transfer_call(
    context: df.DurableOrchestrationContext,
) -> Generator[TaskBase, object, dict[str, object]]:
    """Input: session_id, traceparent, and either operation_id, target, announcement, or a tool's call as
    `call_tool` takes it. Output: session_id, outcome."""
    asked = dict(as_object(context.get_input()))
    by_tool = bool(text(asked, "tool_call_id"))
    # It exists before anything is asked for, so that no event can come too early.
    settled = context.wait_for_external_event(TRANSFER_RESULT)
    if by_tool:
        prepared = as_object((yield context.call_activity_with_retry(PREPARE, RETRY, asked)))
        if "status" in prepared:
            yield context.call_activity_with_retry(DELIVER_RESULT, DELIVER_RETRY, delivery(asked, prepared))
            return {"session_id": asked.get("session_id"), "outcome": "refused"}
        asked.update(prepared)
    if text(asked, "announcement"):
        announced = yield context.call_activity_with_retry(ANNOUNCE, RETRY, asked)
        with contextlib.suppress(Exception):  # then it is handed over without knowing what was heard
            heard = yield context.call_activity_with_retry(
                HEAR_OUT, RETRY, {**asked, "entry_id": text(as_object(announced), "entry_id")}
            )
            if text(as_object(heard), "outcome") == "over":
                return {"session_id": asked.get("session_id"), "outcome": "over"}
    # Once: an attempt whose answer was lost must not be followed by another transfer of the same call. The
    # carrier knows a repetition by its operation's id, so the activity repeats what can be repeated.
    try:
        handed = as_object((yield context.call_activity(HAND_OVER, asked)))
    except Exception:  # it may have got through: the carrier may yet tell
        handed = {"outcome": "asked", "settled_within_s": _SETTLED_WITHIN_S}
    outcome = dict(handed)
    if text(handed, "outcome") == "asked":
        give_up = context.create_timer(
            context.current_utc_datetime + timedelta(seconds=number(handed, "settled_within_s"))
        )
        first = yield context.task_any([settled, give_up])
        if first is settled:
            cast("TimerTask", give_up).cancel()
            outcome = dict(as_object(settled.result))
        else:
            outcome = {"outcome": "unknown"}
    yield context.call_activity_with_retry(TELL, DELIVER_RETRY, {**asked, **outcome})
    return {"session_id": asked.get("session_id"), "outcome": text(outcome, "outcome")}


@activity(blueprint, PREPARE, span_name=f"{_SPAN} prepare")
async def prepare_transfer(payload: Payload, needs: Dependencies) -> Payload:
    """Find out whom the model means and whether that can be, before the caller is told anything."""
    from functions.carriers import leg_of
    from shared.agents.call_tools import TransferCall

    wanted = await wanted_of(needs, payload)
    if not isinstance(wanted, Wanted):
        return wanted
    if not isinstance(wanted.request, TransferCall):
        return failed("unknown_tool")
    destination = wanted.agent.transfer_to[wanted.request.to]
    try:
        (await needs.inbound_policy()).outbound.check(destination.target)
        leg_of(needs, wanted.session).check_transfer(destination.target)
    except SidetoneError as error:
        return refusal(error)
    return {
        "operation_id": wanted.operation_id,
        "target": destination.target.address,
        "announcement": destination.announcement,
    }


@activity(blueprint, ANNOUNCE, span_name=f"{_SPAN} announce")
async def announce_transfer(payload: Payload, needs: Dependencies) -> Payload:
    """Have the agent say it. A repetition returns no id: the words are in the inbox already."""
    from shared.session.commands import Say

    try:
        entry_id = await needs.inbox.put(
            text(payload, "session_id"),
            Say(text=text(payload, "announcement")),
            dedupe=f"announcement:{text(payload, 'operation_id')}",
            traceparent=text(payload, "traceparent"),
        )
    except NotFoundError:
        return {"entry_id": ""}
    return {"entry_id": entry_id}


@activity(blueprint, HEAR_OUT, span_name=f"{_SPAN} hear_out")
async def hear_out_announcement(payload: Payload, needs: Dependencies) -> Payload:
    """Wait until the caller has heard the announcement. outcome: heard, unheard, or over with the call.

    Where nothing tells, it is over when its words must have been.
    """
    session_id, entry_id = text(payload, "session_id"), text(payload, "entry_id")
    speaking_s = len(text(payload, "announcement")) / _CHARS_PER_S + _BREATH_S + _TOLD_WITHIN_S
    try:
        async with asyncio.timeout(_SAID_WITHIN_S + speaking_s) as patience:
            after = "0-0"
            while (await needs.sessions.get(session_id)).live:
                entries = await needs.log.read(session_id, after, 500)
                if any(_was_heard(logged, entry_id) for logged in entries):
                    return {"outcome": "heard"}
                if any(_was_said(logged, entry_id) for logged in entries):
                    patience.reschedule(asyncio.get_running_loop().time() + speaking_s)
                after = entries[-1].entry_id if entries else after
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError:
        return {"outcome": "unheard"}
    except NotFoundError:
        pass
    return {"outcome": "over"}


@activity(blueprint, HAND_OVER, span_name=f"{_SPAN} hand_over")
async def hand_over_call(payload: Payload, needs: Dependencies) -> Payload:
    """Ask the carrier. outcome: asked, refused with its code, or over with the call."""
    from functions.call_control import ask_carrier
    from shared.session.log import CallEventKind
    from shared.session.model import Transport
    from shared.telephony.outbound import Target

    session_id, operation_id = text(payload, "session_id"), text(payload, "operation_id")
    target = Target(address=text(payload, "target"))
    try:
        session = await needs.sessions.get(session_id)
        if not session.live:
            return {"outcome": "over"}
        await ask_carrier(
            needs,
            session,
            lambda leg: leg.transfer(target, operation_id),
            CallEventKind.TRANSFER_ASKED,
            CallEventKind.TRANSFER_FAILED,
            operation_id,
        )
    except NotFoundError:
        return {"outcome": "over"}
    except SidetoneError as error:
        return {"outcome": "refused", "code": error.code}
    tells = session.transport is Transport.ACS
    return {"outcome": "asked", "settled_within_s": _SETTLED_WITHIN_S if tells else _GONE_WITHIN_S}


@activity(blueprint, TELL, span_name=f"{_SPAN} tell_outcome")
async def tell_transfer_outcome(payload: Payload, needs: Dependencies) -> Payload:
    """Tell the model of a transfer that did not take place, or may not: it still has the caller."""
    from functions.call_events import transfer_failed
    from shared.session.commands import Tell, ToolResult
    from shared.session.log import ToolStatus
    from shared.session.model import EndReason

    session_id, tool_call_id = text(payload, "session_id"), text(payload, "tool_call_id")
    match text(payload, "outcome"):
        case "failed" | "refused" as outcome:
            reason = EndReason(text(payload, "reason")) if outcome == "failed" else EndReason.PROVIDER_FAILED
            words, status, code = transfer_failed(reason), ToolStatus.ERROR, "transfer_failed"
        case "unknown":
            words, status, code = _STILL_HERE, ToolStatus.UNKNOWN, "outcome_unknown"
        case _:  # it took place, or the call is over
            return {"told": False}
    told = Tell(text=words)
    dedupe = f"transfer:{text(payload, 'operation_id')}"
    if tool_call_id:
        output = text(outcome_of(status, {"error": {"code": code, "message": words}}), "output")
        told = ToolResult(tool_call_id=tool_call_id, status=status, output=output, duration_ms=0.0)
        dedupe = tool_call_id
    try:
        if not (await needs.sessions.get(session_id)).live:
            return {"told": False}
        await needs.inbox.put(session_id, told, dedupe=dedupe, traceparent=text(payload, "traceparent"))
    except NotFoundError:
        return {"told": False}
    return {"told": True}


def _was_heard(logged: LoggedEntry, entry_id: str) -> bool:
    """Return whether this tells that our words were heard; without an id, that any were."""
    from shared.session.log import HeardOut

    return isinstance(logged.entry, HeardOut) and (not entry_id or logged.entry.entry_id == entry_id)


def _was_said(logged: LoggedEntry, entry_id: str) -> bool:
    """Return whether this tells that our words are all on their way; without an id, that any are."""
    from shared.session.log import CommandReceived

    entry = logged.entry
    return (
        isinstance(entry, CommandReceived)
        and entry.command == "say"
        and (not entry_id or entry.detail == entry_id)
    )
