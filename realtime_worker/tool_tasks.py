"""Inline tools run beside the conversation, never inside its read loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from realtime_worker.conversation.effects import RunInline
from realtime_worker.team import Team
from shared.ids import tool_instance_id
from shared.session.model import Session
from shared.telemetry import names
from shared.telemetry.trace_context import Attribute, span
from shared.tools.approval_gate import ApprovalAsked
from shared.tools.context import ToolContext
from shared.tools.execution import ToolOutcome, attempt_tool, run_tool, unknown_tool_outcome
from shared.tools.facts import Facts


class ToolTasks:
    """The running inline tools of one session; owns their tasks."""

    def __init__(self, team: Team, session: Session, traceparent: str) -> None:
        self._team = team
        self._session = session
        self._traceparent = traceparent
        self._tasks: dict[str, asyncio.Task[None]] = {}  # tool call id

    def start(
        self,
        call: RunInline,
        done: Callable[[RunInline, ToolOutcome | ApprovalAsked], None],
        tell: Callable[[RunInline, str], None],
    ) -> None:
        """Run the tool and call `done` with its outcome, unless it is cancelled or this closed before.

        done: called with an ApprovalAsked where a person has to be asked, and the tool may wait for that.
        tell: called with what the tool tells of its progress.
        """
        loop = asyncio.get_running_loop()

        def told(text: str) -> None:  # also from a thread
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(tell, call, text)

        async def run() -> None:
            outcome = await self._run(call, told)
            self._forget(call.tool_call_id, asyncio.current_task())
            done(call, outcome)  # here and not by a callback of the task's: one round of the event loop less

        task = asyncio.create_task(run(), name=f"tool {call.name}")
        self._tasks[call.tool_call_id] = task

    def cancel(self, tool_call_id: str) -> None:
        """Cancel a tool, if it runs: its outcome is decided."""
        task = self._tasks.get(tool_call_id)
        if task is not None:
            task.add_done_callback(lambda over: self._forget(tool_call_id, over))
            task.cancel()

    def _forget(self, tool_call_id: str, task: asyncio.Task[None] | None) -> None:
        if self._tasks.get(tool_call_id) is task:
            del self._tasks[tool_call_id]

    @property
    def idle(self) -> bool:
        """Whether no tool runs."""
        return not self._tasks

    async def close(self) -> None:
        """Cancel what runs and wait for it; safe to call twice."""
        running = list(self._tasks.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._tasks.clear()

    async def _run(self, call: RunInline, tell: Callable[[str], None]) -> ToolOutcome | ApprovalAsked:
        session_id = self._session.session_id
        context = ToolContext(
            session_id=session_id,
            tool_call_id=call.tool_call_id,
            idempotency_key=tool_instance_id(session_id, call.tool_call_id),
            agent=call.agent,
            variables=self._session.variables,
            facts=Facts(call.facts),
            tell=tell,
        )
        attributes: dict[str, Attribute] = {
            names.GEN_AI_OPERATION: names.OPERATION_EXECUTE_TOOL,
            names.GEN_AI_TOOL_NAME: call.name,
            names.GEN_AI_TOOL_CALL_ID: call.tool_call_id,
            names.SESSION_ID: session_id,
        }
        with span(
            f"{names.OPERATION_EXECUTE_TOOL} {call.name}", parent=self._traceparent, attributes=attributes
        ) as tool_span:
            tool = self._team.tool(call.agent, call.name)
            if tool is None:
                outcome = unknown_tool_outcome(call.name, self._team.agent(call.agent).tools)
            elif tool.becomes_durable:
                outcome = await attempt_tool(tool, call.arguments, context)
            else:
                outcome = await run_tool(tool, call.arguments, context)
            status = "asked" if isinstance(outcome, ApprovalAsked) else outcome.status.value
            tool_span.set_attribute(names.TOOL_STATUS, status)
        return outcome
