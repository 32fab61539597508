"""Every function call of the model gets exactly one output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from realtime_worker.conversation.cast import Cast
from realtime_worker.conversation.role import NO_MANNERS, ToolManners
from realtime_worker.conversation.wire import Event, output_item_id, parts, text
from shared.session.log import ToolCalled, ToolExecution


@dataclass(kw_only=True)
class _Call:
    name: str
    execution: ToolExecution
    response_id: str
    at_ms: int = 0
    manners: ToolManners = NO_MANNERS
    output: str | None = None
    called: ToolCalled | None = None  # while it has no output


class ToolBook:
    """The function calls of one conversation and how far each has come."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}
        self._open: dict[str, _Call] = {}  # those without an output: few, however long the conversation

    def restore(self, unanswered: Iterable[ToolCalled], answered: Mapping[str, str], cast: Cast) -> None:
        """Take up what an earlier owner recorded: calls without a result, and those with their output."""
        for tool_call_id, output in answered.items():
            self._calls[tool_call_id] = _Call(
                name="", execution=ToolExecution.INLINE, response_id="", output=output
            )
        for called in unanswered:
            self._calls[called.tool_call_id] = self._open[called.tool_call_id] = _Call(
                name=called.name,
                execution=called.execution,
                response_id=called.response_id,
                at_ms=called.at_ms,
                manners=replace(cast.named(called.agent).manners_of(called.name), redact=called.redact),
                called=called,
            )

    @property
    def waiting(self) -> bool:
        """Whether a call has no output yet."""
        return bool(self._open)

    @property
    def inline_running(self) -> bool:
        """Whether an inline call has no output yet."""
        return any(call.execution is ToolExecution.INLINE for call in self._open.values())

    def open_calls(self, event: Event, response_id: str, cast: Cast, now_ms: int) -> list[ToolCalled]:
        """Return the complete function calls of a response (or of one output item) that are new."""
        items = parts(event, "output") if "output" in event else [event]
        fresh: list[ToolCalled] = []
        for item in items:
            tool_call_id = text(item, "call_id")
            complete = text(item, "type") == "function_call" and text(item, "status") != "incomplete"
            if not complete or not tool_call_id or tool_call_id in self._calls:
                continue
            name = text(item, "name")
            role = cast.of_response(response_id, name)
            execution = role.executions.get(name, ToolExecution.INLINE)
            manners = role.manners_of(name)
            called = ToolCalled(
                tool_call_id=tool_call_id,
                name=name,
                arguments=text(item, "arguments") or "{}",
                execution=execution,
                response_id=response_id,
                agent=role.agent,
                redact=manners.redact,
                at_ms=now_ms,
            )
            self._calls[tool_call_id] = self._open[tool_call_id] = _Call(
                name=name,
                execution=execution,
                response_id=response_id,
                at_ms=now_ms,
                manners=manners,
                called=called,
            )
            fresh.append(called)
        return fresh

    def make_durable(self, tool_call_id: str) -> ToolCalled | None:
        """Let an open inline call go on as a durable one; return it, or None where there is no such call."""
        call = self._open.get(tool_call_id)
        if call is None or call.called is None or call.execution is not ToolExecution.INLINE:
            return None
        call.execution = ToolExecution.DURABLE
        return replace(call.called, execution=ToolExecution.DURABLE)

    def settle(self, tool_call_id: str, output: str) -> str | None:
        """Keep the call's one output; return the tool's name, or None if it has one or is unknown."""
        call = self._open.pop(tool_call_id, None)
        if call is None:
            return None
        call.output, call.called = output, None
        return call.name

    def manners_of(self, tool_call_id: str) -> ToolManners:
        """Return how the tool of a call behaves."""
        call = self._calls.get(tool_call_id)
        return call.manners if call else NO_MANNERS

    def cancellable(self) -> dict[str, int]:
        """Return the inline calls without an output that end when the caller speaks, with when they began."""
        return {
            tool_call_id: call.at_ms
            for tool_call_id, call in self._open.items()
            if call.manners.cancellable and call.execution is ToolExecution.INLINE
        }

    def output_of(self, tool_call_id: str) -> str | None:
        """Return the recorded output of a call."""
        call = self._calls.get(tool_call_id)
        return call.output if call else None

    def call_of_item(self, item_id: str) -> str:
        """Return the call that the output item `item_id` answers, or ""."""
        return next((call for call in self._calls if output_item_id(call) == item_id), "")

    def siblings_running(self, tool_call_id: str) -> bool:
        """Return whether another inline call of the same response still runs: they answer together."""
        call = self._calls.get(tool_call_id)
        return call is not None and any(
            other.execution is ToolExecution.INLINE and other.response_id == call.response_id
            for other in self._open.values()
        )
