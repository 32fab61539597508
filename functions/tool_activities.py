"""The steps of a durable tool's orchestration that touch the world: run it, undo it, tell of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from importlib import import_module
from typing import TYPE_CHECKING

import azure.durable_functions as df

from functions.durable import Payload, activity, as_object, number, text
from functions.tool_calls import (
    ASK_IF_TAKEN,
    COMPENSATE,
    DELIVER_RESULT,
    NOTIFY,
    RUN_TOOL,
    call_is_over,
    given_up,
)
from shared.errors import NotFoundError, SidetoneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from functions.dependencies import Dependencies
    from shared.agents.agent import Agent
    from shared.session.model import Session
    from shared.tools.approval import Approval
    from shared.tools.companions import Companion, LateResult
    from shared.tools.context import ToolContext
    from shared.tools.definition import Tool

blueprint = df.Blueprint()

_SPAN = "tool_call"
# A tool that has a lot to say says it to a person.
_MAX_PROGRESS = 50
_PROGRESS_WITHIN_S = 5.0
_CUT_OFF = json.dumps(
    {
        "error": {
            "code": "tool_cut_off",
            "message": "The tool was cut off; whether it took effect is not known. Do not repeat it; tell "
            "the caller.",
        }
    }
)
_NOTHING = (None, None, None)


@activity(blueprint, RUN_TOOL, span_name=f"{_SPAN} execute")
async def run_durable_tool(payload: Payload, needs: Dependencies) -> Payload:
    """Attempt the tool once and return its outcome.

    status, output (JSON text), duration_ms, facts, redact; began: it may have had an effect; again_in_s: when
    to try again, if that may help; asks: the approval it needs first; and what its author wants done
    afterwards: cancels, compensates, notifies. call_over: it is cancelled with its call, and that has ended.
    """
    from datetime import timedelta

    from shared.session.log import ToolStatus
    from shared.tools.approval_gate import ApprovalAsked
    from shared.tools.execution import ToolOutcome, attempt_tool, unknown_tool_outcome

    found = await _tool_and_session(payload, needs)
    if found is None:  # erased, or deployed without that agent: no attempt can help
        return given_up(timedelta())
    tool, session, known = found
    if tool is None:
        unknown = unknown_tool_outcome(text(payload, "tool"), known)
        return {"status": unknown.status.value, "output": unknown.output, "duration_ms": 0.0}
    options = tool.durable
    after: dict[str, object] = {
        "redact": list(tool.redact),
        "cancels": options.on_call_end == "cancel",
        "compensates": options.compensate is not None,
        "notifies": options.notify is not None,
    }
    if options.on_call_end == "cancel" and not session.live:
        return {**call_is_over(), **after, "call_over": True}
    approval = _approval(payload)

    async def begins() -> ToolOutcome | None:
        """Note that a tool runs that must not run twice; one that has begun before was cut off."""
        if tool.idempotent or await _first_run(payload, needs, approved=approval is not None):
            return None
        return ToolOutcome(
            status=ToolStatus.UNKNOWN, output=_CUT_OFF, duration_ms=0.0, code="tool_cut_off", began=True
        )

    progress = _Progress(payload, needs)
    try:
        context = _context(payload, session, approval, progress.tell)
        ending = await attempt_tool(tool, text(payload, "arguments"), context, begins=begins)
    finally:
        await progress.close()
    if isinstance(ending, ApprovalAsked):
        asks = {"question": ending.question, "expires_s": ending.expires_s}
        return {**after, "asks": asks, "began": ending.began}
    elapsed_s = number(payload, "elapsed_s") + ending.duration_ms / 1000
    attempt = int(number(payload, "attempt")) or 1
    return {
        **after,
        "status": ending.status.value,
        "output": ending.output,
        "duration_ms": ending.duration_ms,
        "facts": dict(ending.facts),
        "began": ending.began,
        "call_over": options.on_call_end == "cancel" and not await _live(needs, session.session_id),
        "again_in_s": options.pause_s(attempt, elapsed_s) if ending.retryable else None,
    }


@activity(blueprint, COMPENSATE, span_name=f"{_SPAN} compensate")
async def compensate_tool(payload: Payload, needs: Dependencies) -> Payload:
    """Undo what the tool may have done. Raises when that fails: it is tried again."""
    tool, session, _ = await _tool_and_session(payload, needs) or _NOTHING
    if tool is not None and session is not None and tool.durable.compensate is not None:
        await _call_companion(tool, tool.durable.compensate, payload, session)
    return {}


@activity(blueprint, NOTIFY, span_name=f"{_SPAN} notify")
async def notify_of_late_result(payload: Payload, needs: Dependencies) -> Payload:
    """Tell the tool's author's function how the tool came out after the call. Raises when that fails."""
    from shared.tools.companions import LateResult

    tool, session, _ = await _tool_and_session(payload, needs) or _NOTHING
    if tool is not None and session is not None and tool.durable.notify is not None:
        result = LateResult(status=text(payload, "status"), output=text(payload, "output"))
        await _call_companion(tool, tool.durable.notify, payload, session, result)
    return {}


@activity(blueprint, DELIVER_RESULT, span_name=f"{_SPAN} deliver")
async def deliver_tool_result(payload: Payload, needs: Dependencies) -> Payload:
    """Put the result into the session's inbox, once; a session that was erased needs none.

    late: whether the call had ended before, so that the result is in the session's log only; null while
    nobody can say.
    """
    from functions.session_start import now_ms
    from functions.unread_results import record_result
    from shared.session.commands import ToolResult
    from shared.session.log import ToolStatus, ToolUndone
    from shared.session.model import FactValue

    session_id, tool_call_id = text(payload, "session_id"), text(payload, "tool_call_id")
    facts: dict[str, FactValue | None] = {
        name: value
        for name, value in as_object(payload.get("facts")).items()
        if value is None or isinstance(value, str | int | float | bool)
    }
    result = ToolResult(
        tool_call_id=tool_call_id,
        status=ToolStatus(text(payload, "status")),
        output=text(payload, "output"),
        duration_ms=number(payload, "duration_ms"),
        facts=facts,
    )
    try:
        if (undone := payload.get("undone")) is not None:
            entry = ToolUndone(
                tool_call_id=tool_call_id,
                name=text(payload, "tool"),
                succeeded=bool(undone),
                at_ms=now_ms(),
            )
            await needs.log.append(session_id, [entry], dedupe=f"undone:{tool_call_id}")
        entry_id = await needs.inbox.put(
            session_id, result, dedupe=tool_call_id, traceparent=text(payload, "traceparent")
        )
        # Read after the result is in the inbox: whoever closes the books later finds it there.
        if (await needs.sessions.get(session_id)).live:
            return {"delivered": bool(entry_id), "late": None}
        redact = payload.get("redact")
        fields = tuple(str(name) for name in redact) if isinstance(redact, list) else ()
        late = await record_result(needs, session_id, text(payload, "tool"), fields, result)
    except NotFoundError:
        return {"delivered": False, "late": False}
    return {"delivered": bool(entry_id), "late": late}


@activity(blueprint, ASK_IF_TAKEN, span_name=f"{_SPAN} ask_if_taken")
async def ask_if_result_was_taken(payload: Payload, needs: Dependencies) -> Payload:
    """Return `late` as deliver_tool_result does, for a result that it has put into the inbox."""
    from functions.unread_results import record_unread, recorded_by_owner

    session_id, tool_call_id = text(payload, "session_id"), text(payload, "tool_call_id")
    try:
        session = await needs.sessions.get(session_id)
        if not session.live:
            await record_unread(needs, session, await needs.log.read_all(session_id))
        taken = await recorded_by_owner(needs, session_id, tool_call_id)
    except NotFoundError:  # the session was erased
        return {"late": False}
    return {"late": None if taken is None else not taken}


async def _tool_and_session(
    payload: Payload, needs: Dependencies
) -> tuple[Tool | None, Session, list[str]] | None:
    """Return the tool, the session, and the names of the agent's tools; None where either is gone."""
    try:
        session = await needs.sessions.get(text(payload, "session_id"))
        agent = (await needs.agents()).get(text(payload, "agent") or session.agent)
    except NotFoundError:
        return None
    name = text(payload, "tool")
    tool = agent.tools.get(name)
    if tool is None and agent.mcp_servers:
        tool = await _durable_mcp_tool(agent, name, needs)
    return tool, session, sorted(agent.tools)


async def _durable_mcp_tool(agent: Agent, name: str, needs: Dependencies) -> Tool | None:
    await asyncio.to_thread(import_module, "shared.mcp.durable")
    from shared.mcp.credentials import SecretStore, process_environment
    from shared.mcp.durable import durable_tool

    environment = process_environment()
    return durable_tool(agent, name, SecretStore(environment, needs.settings.key_vault_url), environment)


def _context(
    payload: Payload,
    session: Session,
    approval: Approval | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> ToolContext:
    from shared.ids import tool_instance_id
    from shared.tools.context import ToolContext
    from shared.tools.facts import Facts

    tool_call_id = text(payload, "tool_call_id")
    return ToolContext(
        session_id=session.session_id,
        tool_call_id=tool_call_id,
        idempotency_key=tool_instance_id(session.session_id, tool_call_id),
        agent=text(payload, "agent") or session.agent,
        variables=session.variables,
        facts=Facts(session.standing.facts if session.standing else None),
        approval=approval,
        tell=tell,
    )


def _approval(payload: Payload) -> Approval | None:
    from shared.tools.approval import Approval

    given = as_object(payload.get("approval"))
    if not given:
        return None
    return Approval(
        approval_id=text(given, "approval_id"), by=text(given, "by"), comment=text(given, "comment")
    )


async def _call_companion(
    tool: Tool, companion: Companion, payload: Payload, session: Session, result: LateResult | None = None
) -> None:
    from shared.tools.companions import call_companion

    arguments = tool.reader.read(text(payload, "arguments"))
    await call_companion(companion, arguments, _context(payload, session), result, within_s=tool.timeout_s)


async def _live(needs: Dependencies, session_id: str) -> bool:
    try:
        return (await needs.sessions.get(session_id)).live
    except NotFoundError:
        return False


async def _first_run(payload: Payload, needs: Dependencies, *, approved: bool) -> bool:
    """Note that the tool begins to run; return False when it has begun before.

    An activity runs again when its host died in the middle of it. One that has asked for an approval begins
    a second time with it. The note lies among the session's keys, so it is erased with them.
    """
    from shared.store.connection import answered
    from shared.store.keys import SessionKeys

    key = SessionKeys(text(payload, "session_id")).seen
    note = f"run:{text(payload, 'tool_call_id')}" + (":approved" if approved else "")
    first = await answered(needs.redis.hsetnx(key, note, "1"))
    await answered(needs.redis.expire(key, needs.settings.session_retention_s, nx=True))
    return bool(first)


class _Progress:
    """Brings what a running tool tells to the session's inbox, in order, beside the tool."""

    def __init__(self, payload: Payload, needs: Dependencies) -> None:
        self._payload = payload
        self._needs = needs
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[str] = asyncio.Queue()
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    def tell(self, told: str) -> None:
        """Take a text, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._take, told)

    def _take(self, told: str) -> None:
        if self._count < _MAX_PROGRESS:
            self._count += 1
            self._told.put_nowait(told)
            self._task = self._task or asyncio.create_task(self._bring(), name="progress")

    async def close(self) -> None:
        """Bring what is left, for a short while."""
        await asyncio.sleep(0)  # what a thread told last is still on its way to `_take`
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PROGRESS_WITHIN_S):
                await self._told.join()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _bring(self) -> None:
        from shared.session.commands import ReportProgress
        from shared.telemetry.logs import get_logger

        session_id, tool_call_id = text(self._payload, "session_id"), text(self._payload, "tool_call_id")
        stage = "approved" if self._payload.get("approval") else ""
        begun = f"progress:{tool_call_id}:{stage}:{int(number(self._payload, 'attempt'))}"
        number_told = 0
        while True:
            told = await self._told.get()
            number_told += 1
            try:
                await self._needs.inbox.put(
                    session_id,
                    ReportProgress(tool_call_id=tool_call_id, text=told),
                    dedupe=f"{begun}:{number_told}",
                    traceparent=text(self._payload, "traceparent"),
                )
            except SidetoneError as error:  # the tool matters more than what it says of itself
                get_logger("functions.tools").warning("progress_not_told", extra={"code": error.code})
            finally:
                self._told.task_done()
