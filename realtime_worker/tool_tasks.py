"""Inline tools run beside the conversation, never inside its read loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime_worker.conversation.effects import RunInline
from realtime_worker.team import Team
from shared.ids import tool_instance_id
from shared.session.model import Session
from shared.telemetry import names
from shared.telemetry.trace_context import Attribute, span
from shared.tools.context import ToolContext
from shared.tools.execution import ToolOutcome, run_tool, unknown_tool_outcome
from shared.tools.facts import Facts


class ToolTasks:
    """The running inline tools of one session; owns their tasks."""

    def __init__(self, team: Team, session: Session, traceparent: str) -> None:
        self._team = team
        self._session = session
        self._traceparent = traceparent
        self._tasks: set[asyncio.Task[ToolOutcome]] = set()

    def start(self, call: RunInline, done: Callable[[RunInline, ToolOutcome], None]) -> None:
        """Run the tool and call `done` with its outcome, unless closed before."""

        def finished(task: asyncio.Task[ToolOutcome]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                done(call, task.result())

        task = asyncio.create_task(self._run(call), name=f"tool {call.name}")
        self._tasks.add(task)
        task.add_done_callback(finished)

    @property
    def idle(self) -> bool:
        """Whether no tool runs."""
        return not self._tasks

    async def close(self) -> None:
        """Cancel what runs and wait for it; safe to call twice."""
        running = list(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, call: RunInline) -> ToolOutcome:
        session_id = self._session.session_id
        context = ToolContext(
            session_id=session_id,
            tool_call_id=call.tool_call_id,
            idempotency_key=tool_instance_id(session_id, call.tool_call_id),
            agent=call.agent,
            variables=self._session.variables,
            facts=Facts(call.facts),
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
            outcome = (
                unknown_tool_outcome(call.name, self._team.agent(call.agent).tools)
                if tool is None
                else await run_tool(tool, call.arguments, context)
            )
            tool_span.set_attribute(names.TOOL_STATUS, outcome.status.value)
        return outcome
