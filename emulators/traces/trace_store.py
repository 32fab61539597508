"""The last traces, bounded: when full, the trace that was written to longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from emulators.traces.spans import FinishedSpan

_SESSION_ATTRIBUTES = ("sidetone.session.id", "gen_ai.conversation.id")


class TraceStore:
    """Keeps at most `max_traces` traces of at most `max_spans` spans each."""

    def __init__(self, *, max_traces: int = 500, max_spans: int = 5000) -> None:
        self._max_traces = max_traces
        self._max_spans = max_spans
        self._traces: OrderedDict[str, dict[str, FinishedSpan]] = OrderedDict()
        self.dropped = 0

    def add(self, spans: Iterable[FinishedSpan]) -> int:
        """Keep `spans`; return how many found no room. A span that is sent twice counts once."""
        refused = 0
        for span in spans:
            trace = self._traces.setdefault(span.trace_id, {})
            self._traces.move_to_end(span.trace_id)
            if span.span_id not in trace and len(trace) >= self._max_spans:
                refused += 1
            else:
                trace[span.span_id] = span
            while len(self._traces) > self._max_traces:
                self.dropped += len(self._traces.popitem(last=False)[1])
        self.dropped += refused
        return refused

    def get(self, trace_id: str) -> list[FinishedSpan]:
        """Return the trace's spans by start, an empty list when it is not known."""
        return sorted(self._traces.get(trace_id, {}).values(), key=lambda span: (span.start_ns, span.span_id))

    def summaries(self, *, session_id: str = "", limit: int = 50) -> list[dict[str, object]]:
        """Return the traces, the last written to first; with `session_id`, those that mention it."""
        found: list[dict[str, object]] = []
        for trace_id in reversed(self._traces):
            spans = self.get(trace_id)
            if session_id and not any(_mentions(span, session_id) for span in spans):
                continue
            found.append(_summary(trace_id, spans))
            if len(found) == limit:
                break
        return found


def _mentions(span: FinishedSpan, session_id: str) -> bool:
    return any(span.attributes.get(name) == session_id for name in _SESSION_ATTRIBUTES)


def _summary(trace_id: str, spans: list[FinishedSpan]) -> dict[str, object]:
    first = min(span.start_ns for span in spans)
    return {
        "trace_id": trace_id,
        "root": spans[0].name,
        "services": sorted({span.service for span in spans}),
        "spans": len(spans),
        "failed": sum(span.failed for span in spans),
        "start_unix_ms": first / 1e6,
        "duration_ms": round((max(span.end_ns for span in spans) - first) / 1e6, 3),
    }
