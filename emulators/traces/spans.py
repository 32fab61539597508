"""A finished span as this sink keeps it, and how it is read from an OTLP request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

Attribute: TypeAlias = str | int | float | bool

_KINDS = {
    ProtoSpan.SPAN_KIND_SERVER: "server",
    ProtoSpan.SPAN_KIND_CLIENT: "client",
    ProtoSpan.SPAN_KIND_PRODUCER: "producer",
    ProtoSpan.SPAN_KIND_CONSUMER: "consumer",
}
_SERVICE_NAME = "service.name"


@dataclass(frozen=True, kw_only=True)
class FinishedSpan:
    """One span. Ids are lower-case hexadecimal, `parent_id` is "" for a root; times are Unix nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    start_ns: int
    end_ns: int
    kind: str = "internal"
    failed: bool = False
    attributes: dict[str, Attribute] = field(default_factory=dict[str, Attribute])

    @property
    def duration_ms(self) -> float:
        return max(0, self.end_ns - self.start_ns) / 1e6

    def as_json(self) -> dict[str, object]:
        """Return the span for the JSON API."""
        return {
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_id": self.parent_id,
            "name": self.name,
            "service": self.service,
            "kind": self.kind,
            "start_unix_ms": self.start_ns / 1e6,
            "duration_ms": round(self.duration_ms, 3),
            "failed": self.failed,
            "attributes": self.attributes,
        }


def read_request(body: bytes) -> list[FinishedSpan]:
    """Return the spans of an ExportTraceServiceRequest; spans without valid ids are left out.

    Raises google.protobuf.message.DecodeError where `body` is not one.
    """
    return list(_spans(ExportTraceServiceRequest.FromString(body)))


def _spans(request: ExportTraceServiceRequest) -> Iterator[FinishedSpan]:
    for of_resource in request.resource_spans:
        service = str(_attributes(of_resource.resource.attributes).get(_SERVICE_NAME, "unknown"))
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                if len(span.trace_id) == 16 and len(span.span_id) == 8:
                    yield _span(span, service)


def _span(span: ProtoSpan, service: str) -> FinishedSpan:
    return FinishedSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        service=service,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        kind=_KINDS.get(span.kind, "internal"),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        attributes=_attributes(span.attributes),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Attribute]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: AnyValue) -> Attribute:
    match value.WhichOneof("value"):
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "array_value":
            return ", ".join(str(_plain(item)) for item in value.array_value.values)
        case "kvlist_value":
            return ", ".join(f"{pair.key}={_plain(pair.value)}" for pair in value.kvlist_value.values)
        case "bytes_value":
            return f"<{len(value.bytes_value)} bytes>"
        case _:
            return value.string_value
