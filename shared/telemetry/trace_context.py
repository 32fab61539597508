"""Spans, and the W3C trace context that carries a trace from plane to plane.

A `traceparent` (W3C Trace Context, level 1) travels in Redis jobs, in the inbox and in the
inputs of orchestrations; whoever continues the work opens its span with `parent=` that. With no
exporter configured, spans record nothing and still pass the caller's trace on.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from shared.errors import SidetoneError
from shared.security.redaction import redact_value
from shared.telemetry import names

Kind: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]
Attribute: TypeAlias = str | int | float | bool

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_KINDS: dict[str, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_NS_PER_MS = 1_000_000
_tracer = trace.get_tracer("sidetone")


class Span:
    """One step of a trace. String values are redacted, fields with content dropped, as in logs."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """What continues the trace below this span elsewhere; "" when there is no trace."""
        return _format(self._span.get_span_context())

    @property
    def recording(self) -> bool:
        """Whether anything is exported; spares the making of costly attributes."""
        return self._span.is_recording()

    def within(self, context: otel_context.Context | None) -> otel_context.Context:
        """Return `context` (None: the running one) with this span as the running one."""
        return trace.set_span_in_context(self._span, context)

    def set_attribute(self, key: str, value: Attribute) -> None:
        """Describe the span. Nothing happens when the name of the attribute says that it holds content."""
        if self._span.is_recording():
            safe = redact_value(key, value)
            if isinstance(safe, str | int | float | bool):
                self._span.set_attribute(key, safe)

    def add_event(self, name: str, attributes: Mapping[str, Attribute] | None = None) -> None:
        """Mark a moment within the span."""
        if self._span.is_recording():
            self._span.add_event(name, _safe(attributes))

    def fail(self, code: str) -> None:
        """Mark the span as failed with a stable code (never a message)."""
        if self._span.is_recording():
            self._span.set_attribute(names.ERROR_TYPE, code)
            self._span.set_attribute(names.ERROR_CODE, code)
            self._span.set_status(Status(StatusCode.ERROR, code))

    def fail_with(self, error: BaseException) -> None:
        """Mark the span as failed by `error`: its code if it is ours, else its type."""
        self.fail(error.code if isinstance(error, SidetoneError) else type(error).__qualname__)

    def end(self, *, at_ms: int | None = None) -> None:
        """End a span of `start_span`, now or at a Unix time in milliseconds. Ending twice is harmless."""
        if self._span.is_recording():
            self._span.end(None if at_ms is None else at_ms * _NS_PER_MS)


def exporting() -> bool:
    """Return whether spans go anywhere: False until `configure_telemetry` has set an exporter."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def current_traceparent() -> str:
    """Return the W3C trace context of the running code, "" when there is none."""
    return _format(trace.get_current_span().get_span_context())


def current_trace_id() -> str:
    """Return the running trace's id, 32 hexadecimal digits, "" when there is none."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


def start_span(
    name: str,
    *,
    parent: str = "",
    kind: Kind = "internal",
    attributes: Mapping[str, Attribute] | None = None,
    at_ms: int | None = None,
) -> Span:
    """Return a started span that the caller ends: for what begins and ends in different places, as a turn.

    It is a child of `parent` (a traceparent), or of the running span when that is empty or malformed.
    It does not become the running span. `at_ms`: when it began, Unix milliseconds, if not now.
    """
    return _start(name, _context(parent), kind, attributes, at_ms)


@contextmanager
def span(
    name: str,
    *,
    parent: str = "",
    kind: Kind = "internal",
    attributes: Mapping[str, Attribute] | None = None,
) -> Generator[Span]:
    """Run a block as one span: the running one while the block lasts, so that others become its children.

    An exception that leaves the block marks the span with its code or type; its message is not recorded.
    """
    context = _context(parent)
    opened = _start(name, context, kind, attributes, None)
    token = otel_context.attach(opened.within(context))
    try:
        yield opened
    except Exception as error:
        opened.fail_with(error)
        raise
    except BaseException:
        opened.set_attribute(names.CANCELLED, True)
        raise
    finally:
        otel_context.detach(token)
        opened.end()


def _start(
    name: str,
    context: otel_context.Context | None,
    kind: Kind,
    attributes: Mapping[str, Attribute] | None,
    at_ms: int | None,
) -> Span:
    started = Span(
        _tracer.start_span(
            name,
            context=context,
            kind=_KINDS[kind],
            start_time=None if at_ms is None else at_ms * _NS_PER_MS,
        )
    )
    if attributes and started.recording:
        for key, value in attributes.items():
            started.set_attribute(key, value)
    return started


def _context(parent: str) -> otel_context.Context | None:
    """Return the context of a remote parent, None for the running one."""
    match = _TRACEPARENT.fullmatch(parent) if parent else None
    if match is None:
        return None
    version, trace_id, span_id, flags = match.groups()
    remote = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    if version == "ff" or not remote.is_valid:
        return None
    return trace.set_span_in_context(NonRecordingSpan(remote))


def _format(context: SpanContext) -> str:
    if not context.is_valid:
        return ""
    return (
        f"00-{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}"
        f"-{int(context.trace_flags):02x}"
    )


def _safe(attributes: Mapping[str, Attribute] | None) -> dict[str, Attribute]:
    safe: dict[str, Attribute] = {}
    for key, value in (attributes or {}).items():
        kept = redact_value(key, value)
        if isinstance(kept, str | int | float | bool):
            safe[key] = kept
    return safe
