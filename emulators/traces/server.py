"""The HTTP side of the sink.

OTLP/HTTP: `POST /v1/traces` (kept), `/v1/metrics` and `/v1/logs` (checked and let go).
To look at: `GET /traces` (`?session_id=`, `?limit=`), `GET /traces/{trace_id}`,
`GET /traces/{trace_id}/waterfall` (`?width=`), `GET /health`.
"""

from __future__ import annotations

import re

from aiohttp import web
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from emulators.traces.spans import FinishedSpan, read_request
from emulators.traces.trace_store import TraceStore
from emulators.traces.waterfall import render

STORE = web.AppKey("store", TraceStore)
_PROTOBUF = "application/x-protobuf"
_MAX_BODY = 16 * 1024 * 1024
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


def make_app(store: TraceStore | None = None) -> web.Application:
    """Return the sink as an aiohttp application."""
    app = web.Application(client_max_size=_MAX_BODY)
    app[STORE] = store or TraceStore()
    app.router.add_post("/v1/traces", _receive_traces)
    app.router.add_post("/v1/metrics", _receive_metrics)
    app.router.add_post("/v1/logs", _receive_logs)
    app.router.add_get("/traces", _list)
    app.router.add_get("/traces/{trace_id}", _show)
    app.router.add_get("/traces/{trace_id}/waterfall", _waterfall)
    app.router.add_get("/health", _health)
    return app


async def _receive_traces(request: web.Request) -> web.Response:
    body = await _protobuf_body(request)
    try:
        spans = read_request(body)
    except DecodeError:
        raise _not_protobuf("ExportTraceServiceRequest") from None
    refused = request.app[STORE].add(spans)
    answer = ExportTraceServiceResponse()
    if refused:
        answer.partial_success.rejected_spans = refused
        answer.partial_success.error_message = "the trace has more spans than this sink keeps"
    return _protobuf(answer)


async def _receive_metrics(request: web.Request) -> web.Response:
    try:
        ExportMetricsServiceRequest.FromString(await _protobuf_body(request))
    except DecodeError:
        raise _not_protobuf("ExportMetricsServiceRequest") from None
    return _protobuf(ExportMetricsServiceResponse())


async def _receive_logs(request: web.Request) -> web.Response:
    try:
        ExportLogsServiceRequest.FromString(await _protobuf_body(request))
    except DecodeError:
        raise _not_protobuf("ExportLogsServiceRequest") from None
    return _protobuf(ExportLogsServiceResponse())


async def _list(request: web.Request) -> web.Response:
    limit = _whole_number(request, "limit", 50, 1, 500)
    session_id = request.query.get("session_id", "")
    store = request.app[STORE]
    return web.json_response(
        {"traces": store.summaries(session_id=session_id, limit=limit), "dropped_spans": store.dropped}
    )


async def _show(request: web.Request) -> web.Response:
    spans = _trace(request)
    return web.json_response({"trace_id": spans[0].trace_id, "spans": [span.as_json() for span in spans]})


async def _waterfall(request: web.Request) -> web.Response:
    width = _whole_number(request, "width", 120, 60, 1000)
    return web.Response(text=render(_trace(request), width))


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _trace(request: web.Request) -> list[FinishedSpan]:
    trace_id = request.match_info["trace_id"].lower()
    if not _TRACE_ID.fullmatch(trace_id):
        raise web.HTTPBadRequest(text="A trace id is 32 hexadecimal digits; GET /traces lists them.\n")
    spans = request.app[STORE].get(trace_id)
    if not spans:
        raise web.HTTPNotFound(
            text=f"No span of trace {trace_id} has arrived (exporters send about once a second).\n"
        )
    return spans


def _whole_number(request: web.Request, name: str, default: int, lowest: int, highest: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise web.HTTPBadRequest(text=f"{name} must be a whole number from {lowest} to {highest}.\n")
    return min(max(int(text), lowest), highest)


async def _protobuf_body(request: web.Request) -> bytes:
    if request.content_type != _PROTOBUF:
        raise web.HTTPUnsupportedMediaType(
            text=f"Send OTLP as {_PROTOBUF} (OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf).\n"
        )
    return await request.read()


def _not_protobuf(expected: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=f"The body is not an {expected}.\n")


def _protobuf(message: Message) -> web.Response:
    return web.Response(body=message.SerializeToString(), content_type=_PROTOBUF)
