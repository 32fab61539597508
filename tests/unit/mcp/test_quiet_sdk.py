"""What an MCP server says reaches neither logs nor spans through the SDK; the trace goes on to it."""

from __future__ import annotations

import logging

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.mcp import quiet_sdk as quiet_sdk

SAID = "the caller said this"


async def test_the_sdk_writes_nothing_down(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    server = MCPServer("s", log_level="CRITICAL")

    @server.tool()
    def fail() -> str:
        raise ValueError(SAID)

    with caplog.at_level(logging.DEBUG), provider.get_tracer("ours").start_as_current_span("execute_tool"):
        async with Client(server) as client:
            assert (await client.call_tool("fail", {})).is_error

    assert SAID not in caplog.text
    assert [span.name for span in spans.get_finished_spans()] == ["execute_tool"]
