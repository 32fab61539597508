"""The trace sink as a process, fed by the real OTLP exporters of two other processes."""

from __future__ import annotations

import asyncio
import gzip
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from emulators.traces.server import make_app
from emulators.traces.trace_store import TraceStore
from tests.integration.telemetry.exporting_program import PERSONAL, SESSION_ID
from tests.support.exporting import REPOSITORY, run_exporting

PROTOBUF = {"content-type": "application/x-protobuf"}


@pytest.fixture
async def sink() -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The emulator on a free port: its process and its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "emulators",
        "traces",
        "--port",
        "0",
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    assert line.startswith("ready http://127.0.0.1:"), line
    yield process, line.split()[1]
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_one_trace_of_two_processes_is_drawn(
    sink: tuple[asyncio.subprocess.Process, str], tmp_path: Path
) -> None:
    _, url = sink
    first, _ = await run_exporting(tmp_path, "sidetone-control", OTEL_EXPORTER_OTLP_ENDPOINT=url)
    second, _ = await run_exporting(tmp_path, "sidetone-worker", first, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    trace_id = first.split("-")[1]
    assert second.split("-")[1] == trace_id

    async with aiohttp.ClientSession(url) as client:
        trace = await (await client.get(f"/traces/{trace_id}")).json()
        drawn = await (await client.get(f"/traces/{trace_id}/waterfall", params={"width": "130"})).text()
        found = await (await client.get("/traces", params={"session_id": SESSION_ID})).json()
        others = await (await client.get("/traces", params={"session_id": "ses_other"})).json()

    spans: dict[tuple[str, str], dict[str, Any]] = {(s["service"], s["name"]): s for s in trace["spans"]}
    assert len(trace["spans"]) == len(spans) == 6
    control = spans["sidetone-control", "call.attach"]
    worker = spans["sidetone-worker", "call.attach"]
    assert (control["parent_id"], worker["parent_id"]) == ("", control["span_id"])
    assert worker["kind"] == "consumer"
    assert spans["sidetone-worker", "execute_tool claim_status"]["failed"]
    assert spans["sidetone-worker", "conversation.turn"]["duration_ms"] == 250
    assert [text for text in PERSONAL if text in str(trace)] == []

    lines = drawn.splitlines()
    assert lines[0].startswith(f"trace {trace_id}")
    assert len(lines) == 8
    assert any(line.startswith("  call.attach") and "sidetone-worker" in line for line in lines)
    assert any(
        line.startswith("    execute_tool claim_status !") and "no_such_claim" in line for line in lines
    )

    assert [entry["trace_id"] for entry in found["traces"]] == [trace_id]
    assert found["traces"][0]["services"] == ["sidetone-control", "sidetone-worker"]
    assert others["traces"] == []


async def test_it_ends_at_once_even_with_a_client_connected(
    sink: tuple[asyncio.subprocess.Process, str],
) -> None:
    process, url = sink
    async with aiohttp.ClientSession(url) as client:
        assert (await client.get("/health")).status == 200
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert time.monotonic() - asked < 5


async def test_a_taken_port_is_one_sentence(sink: tuple[asyncio.subprocess.Process, str]) -> None:
    port = sink[1].rpartition(":")[2]
    second = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "emulators",
        "traces",
        "--port",
        port,
        cwd=REPOSITORY,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await asyncio.wait_for(second.communicate(), 30)
    assert second.returncode == 1
    assert told.decode().startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert len(told.decode().splitlines()) == 1


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    """A client of a small sink: two traces of three spans."""
    app = make_app(TraceStore(max_traces=2, max_spans=3))
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        yield client


def request_of(trace: int, *span_ids: int) -> bytes:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for span_id in span_ids:
        scope.spans.add(
            trace_id=trace.to_bytes(16, "big"),
            span_id=span_id.to_bytes(8, "big"),
            name=f"span {span_id}",
            start_time_unix_nano=span_id * 1000,
            end_time_unix_nano=span_id * 1000 + 500,
        )
    return request.SerializeToString()


async def test_memory_is_bounded(client: TestClient[Any, Any]) -> None:
    for trace in (1, 2, 3):
        answer = await client.post("/v1/traces", data=request_of(trace, 1), headers=PROTOBUF)
        assert answer.status == 200
    assert (await client.get(f"/traces/{1:032x}")).status == 404
    answer = await client.post("/v1/traces", data=request_of(3, 1, 2, 3, 4, 5), headers=PROTOBUF)
    told = ExportTraceServiceResponse.FromString(await answer.read())
    assert told.partial_success.rejected_spans == 2
    listed = await (await client.get("/traces")).json()
    assert [(entry["trace_id"], entry["spans"]) for entry in listed["traces"]] == [
        (f"{3:032x}", 3),
        (f"{2:032x}", 1),
    ]
    assert listed["dropped_spans"] == 3


async def test_a_batch_sent_twice_counts_once(client: TestClient[Any, Any]) -> None:
    for _ in range(2):
        body = gzip.compress(request_of(7, 1, 2))
        answer = await client.post("/v1/traces", data=body, headers={**PROTOBUF, "content-encoding": "gzip"})
        assert answer.status == 200
    trace = await (await client.get(f"/traces/{7:032X}")).json()
    assert [span["name"] for span in trace["spans"]] == ["span 1", "span 2"]


async def test_spans_without_ids_are_left_out(client: TestClient[Any, Any]) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name="no id")
    answer = await client.post("/v1/traces", data=request.SerializeToString(), headers=PROTOBUF)
    assert answer.status == 200
    assert (await (await client.get("/traces")).json())["traces"] == []


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics", "/v1/logs"])
async def test_bad_requests_are_told_what_is_wrong(client: TestClient[Any, Any], path: str) -> None:
    not_protobuf = await client.post(path, data=b"\xff\xff\xff", headers=PROTOBUF)
    assert not_protobuf.status == 400
    assert "The body is not an Export" in await not_protobuf.text()
    as_json = await client.post(path, json={})
    assert as_json.status == 415
    assert "http/protobuf" in await as_json.text()
    too_large = await client.post(path, data=b"\0" * (17 * 1024 * 1024), headers=PROTOBUF)
    assert too_large.status == 413
    assert (await client.post(path, data=b"", headers=PROTOBUF)).status == 200


async def test_bad_questions_are_told_what_is_wrong(client: TestClient[Any, Any]) -> None:
    assert (await client.get("/traces/xyz")).status == 400
    unknown = await client.get(f"/traces/{9:032x}/waterfall")
    assert (unknown.status, "has arrived" in await unknown.text()) == (404, True)
    for width in ("wide", "-1", "9" * 5000, "²"):
        assert (await client.get(f"/traces/{9:032x}/waterfall", params={"width": width})).status == 400
