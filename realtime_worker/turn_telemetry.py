"""Spans and metrics out of what the log records: one trace a session, from attach to the last turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shared.session.log import (
    AgentTurn,
    Attached,
    AudioStarted,
    ErrorRecorded,
    HandedOver,
    Interrupted,
    LogEntry,
    ResponseUsage,
    ToolCalled,
    ToolFinished,
)
from shared.session.model import Session
from shared.telemetry import metrics, names
from shared.telemetry.trace_context import Attribute, exporting, start_span
from shared.tools.definition import Tool

_PROVIDERS = {"openai": names.PROVIDER_OPENAI, "azure_openai": names.PROVIDER_AZURE_OPENAI}


class TurnTelemetry:
    """Turns one session's log entries into telemetry. Holds nothing that needs closing."""

    def __init__(
        self,
        session: Session,
        find_tool: Callable[[str, str], Tool | None],
        traceparent: str,
        model: str,
    ) -> None:
        """find_tool: returns an agent's tool by the names of both."""
        self._exporting = exporting()
        self._traceparent = traceparent
        self._model = model
        self._transport = session.transport.value
        self._takeover = session.connected_at_ms > 0
        self._agent = session.current_agent
        self._find_tool = find_tool
        self._called: dict[str, str] = {}  # tool call id -> agent
        self._provider = _PROVIDERS.get(session.provider, session.provider)
        self._common: dict[str, Attribute] = {
            names.SESSION_ID: session.session_id,
            names.GEN_AI_CONVERSATION_ID: session.session_id,
            names.GEN_AI_AGENT_NAME: session.agent,
        }

    def recorded(self, entries: Iterable[LogEntry]) -> None:
        """Report entries that the log holds now. A response's turn and its usage come in one batch."""
        if not self._exporting:
            return
        turns: dict[str, AgentTurn] = {}
        for entry in entries:
            match entry:
                case AgentTurn():
                    turns[entry.response_id] = entry
                case ResponseUsage():
                    self._response(entry, turns.get(entry.response_id))
                case Attached():
                    self._attached(entry)
                case AudioStarted():
                    metrics.record_first_audio(
                        entry.first_audio_ms, provider=self._provider, model=self._model
                    )
                case Interrupted():
                    metrics.count_interruption(agent=self._agent)
                case ToolCalled():
                    self._called[entry.tool_call_id] = entry.agent
                case ToolFinished():
                    self._tool(entry)
                case HandedOver():
                    self._agent = entry.to_agent
                case ErrorRecorded():
                    metrics.count_provider_error(provider=self._provider, code=entry.code)
                case _:
                    pass

    def ended(self, reason: str) -> None:
        """Count the session's end; `reason` is an EndReason."""
        metrics.count_session_ended(transport=self._transport, reason=reason)

    def _attached(self, entry: Attached) -> None:
        span = start_span(
            names.SPAN_ATTACH,
            parent=self._traceparent,
            kind="client",
            attributes={
                **self._common,
                names.CALL_ID: entry.call_id,
                names.WORKER: entry.worker,
                names.EPOCH: entry.epoch,
            },
            at_ms=entry.at_ms - int(entry.took_ms),
        )
        span.end(at_ms=entry.at_ms)
        metrics.record_attach(entry.took_ms, transport=self._transport, takeover=self._takeover)

    def _tool(self, finished: ToolFinished) -> None:
        tool = self._find_tool(self._called.pop(finished.tool_call_id, self._agent), finished.name)
        metrics.record_tool(
            finished.duration_ms,
            tool=finished.name if tool else "unknown",  # a name the model made up is no metric label
            execution=tool.execution.value if tool else "inline",
            status=finished.status.value,
        )

    def _response(self, usage: ResponseUsage, turn: AgentTurn | None) -> None:
        attributes: dict[str, Attribute] = {
            **self._common,
            names.GEN_AI_AGENT_NAME: turn.agent if turn else self._agent,
            names.GEN_AI_OPERATION: names.OPERATION_CHAT,
            names.GEN_AI_PROVIDER: self._provider,
            names.GEN_AI_REQUEST_MODEL: self._model,
            names.GEN_AI_RESPONSE_ID: usage.response_id,
            names.GEN_AI_OUTPUT_TYPE: "speech",
            names.GEN_AI_INPUT_TOKENS: usage.input_tokens,
            names.GEN_AI_CACHED_TOKENS: usage.cached_tokens,
            names.GEN_AI_OUTPUT_TOKENS: usage.output_tokens,
            names.TURN_STATUS: usage.status,
        }
        if turn is not None and turn.first_audio_ms >= 0:
            attributes[names.TURN_FIRST_AUDIO_MS] = turn.first_audio_ms
            metrics.record_first_audio(turn.first_audio_ms, provider=self._provider, model=self._model)
        span = start_span(
            f"{names.OPERATION_CHAT} {self._model}",
            parent=self._traceparent,
            kind="client",
            attributes=attributes,
            at_ms=usage.at_ms - int(usage.duration_ms),
        )
        if usage.status == "failed":
            span.fail("response_failed")
        span.end(at_ms=usage.at_ms)
        metrics.record_response(
            usage.duration_ms,
            provider=self._provider,
            model=self._model,
            error="response_failed" if usage.status == "failed" else "",
        )
        metrics.record_tokens(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            provider=self._provider,
            model=self._model,
        )
