"""The orchestration `transfer_call`: announce, wait until it was heard, hand over, tell of a failure.

The announcement is a command to the session, so it is said by whoever owns it; the log tells when.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING

import azure.durable_functions as df

from functions.durable import Payload, activity, as_object, orchestrator, text
from functions.orchestrations import TRANSFER_CALL
from shared.errors import NotFoundError, SidetoneError

if TYPE_CHECKING:
    from azure.durable_functions.models.Task import TaskBase

    from functions.dependencies import Dependencies
    from shared.session.log import LoggedEntry

blueprint = df.Blueprint()

ANNOUNCE = "announce_transfer"
HEAR_OUT = "hear_out_announcement"
HAND_OVER = "hand_over_call"

_SPAN = "transfer_call"
_RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1_000, max_number_of_attempts=4)
# A caller who talks all the time keeps the agent from announcing anything: then it goes without.
_SAID_WITHIN_S = 20.0
# How fast agents speak; rather too slow than to cut an announcement short.
_CHARS_PER_S = 13
_BREATH_S = 0.5
_LOOK_EVERY_S = 0.1


@orchestrator(blueprint, TRANSFER_CALL)
def transfer_call(
    context: df.DurableOrchestrationContext,
) -> Generator[TaskBase, object, dict[str, object]]:
    """Input: session_id, operation_id, target, announcement, traceparent. Output: session_id, outcome."""
    asked = dict(as_object(context.get_input()))
    announced = yield context.call_activity_with_retry(ANNOUNCE, _RETRY, asked)
    with contextlib.suppress(Exception):  # then it is handed over without knowing what was heard
        heard = yield context.call_activity_with_retry(
            HEAR_OUT, _RETRY, {**asked, "entry_id": text(as_object(announced), "entry_id")}
        )
        if text(as_object(heard), "outcome") == "over":
            return {"session_id": asked.get("session_id"), "outcome": "over"}
    # Once: an attempt whose answer was lost must not be followed by another transfer of the same call. The
    # carrier knows a repetition by its operation's id, so the activity repeats what can be repeated.
    handed = yield context.call_activity(HAND_OVER, asked)
    return {"session_id": asked.get("session_id"), "outcome": text(as_object(handed), "outcome")}


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
    """Wait until the caller has heard the announcement. outcome: heard, unheard, or over with the call."""
    session_id, entry_id = text(payload, "session_id"), text(payload, "entry_id")
    speaking_s = len(text(payload, "announcement")) / _CHARS_PER_S + _BREATH_S
    try:
        async with asyncio.timeout(_SAID_WITHIN_S + speaking_s):
            after, began_at_ms = "0-0", 0
            while (await needs.sessions.get(session_id)).live:
                entries = await needs.log.read(session_id, after, 500)
                for logged in entries:
                    began_at_ms = _spoken_at_ms(logged) or began_at_ms
                    if _was_said(logged, entry_id):
                        await _until(began_at_ms + speaking_s * 1000)
                        return {"outcome": "heard"}
                after = entries[-1].entry_id if entries else after
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError:
        return {"outcome": "unheard"}
    except NotFoundError:
        pass
    return {"outcome": "over"}


@activity(blueprint, HAND_OVER, span_name=f"{_SPAN} hand_over")
async def hand_over_call(payload: Payload, needs: Dependencies) -> Payload:
    """Ask the carrier; a refusal is told to the model, which still has the caller on the line."""
    from functions.call_control import ask_carrier
    from functions.call_events import transfer_failed
    from shared.session.commands import Tell
    from shared.session.log import CallEventKind
    from shared.session.model import EndReason
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
        await needs.inbox.put(
            session_id,
            Tell(text=transfer_failed(EndReason.PROVIDER_FAILED)),
            dedupe=f"transfer:{operation_id}",
            traceparent=text(payload, "traceparent"),
        )
        return {"outcome": error.code}
    return {"outcome": "asked"}


def _spoken_at_ms(logged: LoggedEntry) -> int:
    from shared.session.log import AgentTurn

    return logged.entry.spoken_at_ms if isinstance(logged.entry, AgentTurn) else 0


def _was_said(logged: LoggedEntry, entry_id: str) -> bool:
    """Return whether this tells that our words were said; without an id, that any were."""
    from shared.session.log import CommandReceived

    entry = logged.entry
    return (
        isinstance(entry, CommandReceived)
        and entry.command == "say"
        and (not entry_id or entry.detail == entry_id)
    )


async def _until(at_ms: float) -> None:
    from functions.session_start import now_ms

    await asyncio.sleep(max(0.0, (at_ms - now_ms()) / 1000))
