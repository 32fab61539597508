"""The real Azure Monitor exporter against an ingestion endpoint of our own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.integration.telemetry.exporting_program import PERSONAL, SESSION_ID
from tests.support.exporting import run_exporting

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass
class Ingestion:
    """What arrived: envelopes by kind, and everything as text."""

    url: str = ""
    envelopes: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def connection_string(self) -> str:
        return (
            "InstrumentationKey=00000000-0000-0000-0000-00000000000A;"
            f"IngestionEndpoint={self.url};LiveEndpoint={self.url};"
        )

    def of(self, base_type: str) -> list[dict[str, Any]]:
        return [e for e in self.envelopes if e["data"]["baseType"] == base_type]


@pytest.fixture
async def ingestion() -> AsyncIterator[Ingestion]:
    arrived = Ingestion()

    async def track(request: web.Request) -> web.Response:
        arrived.paths.append(request.path)
        envelopes = await request.json()
        arrived.envelopes.extend(envelopes)
        return web.json_response(
            {"itemsReceived": len(envelopes), "itemsAccepted": len(envelopes), "errors": []}
        )

    async def unexpected(request: web.Request) -> web.Response:
        arrived.paths.append(request.path)
        return web.Response(status=404)

    app = web.Application()
    app.router.add_post("/v2.1/track", track)
    app.router.add_route("*", "/{tail:.*}", unexpected)
    async with TestServer(app, host="127.0.0.1") as server:
        arrived.url = str(server.make_url("/"))
        yield arrived


async def test_a_trace_arrives_whole_and_redacted(ingestion: Ingestion, tmp_path: Path) -> None:
    """With a connection string as people paste it: trailing `;`, key in capitals."""
    printed, logged = await run_exporting(
        tmp_path,
        "sidetone-worker",
        PARENT,
        APPLICATIONINSIGHTS_CONNECTION_STRING=ingestion.connection_string,
    )
    assert printed.split("-")[1] == TRACE_ID
    assert set(ingestion.paths) == {"/v2.1/track"}, "live metrics or other calls of the SDK are on"

    (attach,) = ingestion.of("RequestData")
    assert attach["data"]["baseData"]["name"] == "call.attach"
    assert attach["tags"]["ai.operation.id"] == TRACE_ID
    assert attach["tags"]["ai.operation.parentId"] == "00f067aa0ba902b7"
    assert attach["tags"]["ai.cloud.role"] == "sidetone-worker"
    assert attach["data"]["baseData"]["properties"]["sidetone.session.id"] == SESSION_ID
    assert (
        attach["data"]["baseData"]["properties"]["sidetone.note"] == "[number] and [email], Bearer [secret]"
    )
    assert "gen_ai.tool.call.arguments" not in attach["data"]["baseData"]["properties"]

    inner = {e["data"]["baseData"]["name"]: e for e in ingestion.of("RemoteDependencyData")}
    assert set(inner) == {"execute_tool claim_status", "conversation.turn"}
    for envelope in inner.values():
        assert envelope["tags"]["ai.operation.id"] == TRACE_ID
        assert envelope["tags"]["ai.operation.parentId"] == printed.split("-")[2]
    tool = inner["execute_tool claim_status"]["data"]["baseData"]
    assert (tool["success"], tool["properties"]["sidetone.error.code"]) == (False, "no_such_claim")
    assert inner["conversation.turn"]["data"]["baseData"]["duration"] == "0.00:00:00.250"

    messages = {e["data"]["baseData"]["message"]: e for e in ingestion.of("MessageData")}
    assert set(messages) == {"called from [number]", "tool failed"}
    for envelope in messages.values():
        assert envelope["tags"]["ai.operation.id"] == TRACE_ID
        assert envelope["data"]["baseData"]["properties"]["session_id"] == SESSION_ID
    assert messages["tool failed"]["data"]["baseData"]["properties"]["error_code"] == "no_such_claim"

    measured = {m["name"] for e in ingestion.of("MetricData") for m in e["data"]["baseData"]["metrics"]}
    assert {"sidetone.tool.duration", "sidetone.sessions.live"} <= measured

    everything = json.dumps(ingestion.envelopes) + logged
    assert [text for text in PERSONAL if text in everything] == []


async def test_sampling_keeps_or_drops_whole_traces(ingestion: Ingestion, tmp_path: Path) -> None:
    await run_exporting(
        tmp_path,
        "sidetone-worker",
        APPLICATIONINSIGHTS_CONNECTION_STRING=ingestion.connection_string,
        TELEMETRY_SAMPLING_RATIO="0",
    )
    assert ingestion.of("RequestData") + ingestion.of("RemoteDependencyData") == []
    assert len(ingestion.of("MessageData")) == 2, "logs are not sampled"


async def test_in_the_functions_host_a_line_is_not_sent_twice(ingestion: Ingestion, tmp_path: Path) -> None:
    """The host forwards what its worker process writes to stderr; our exporter has sent it already."""
    _, logged = await run_exporting(
        tmp_path,
        "sidetone-control",
        APPLICATIONINSIGHTS_CONNECTION_STRING=ingestion.connection_string,
        FUNCTIONS_WORKER_RUNTIME="python",
    )
    assert "tool failed" not in logged
    assert len(ingestion.of("MessageData")) == 2


async def test_nothing_is_sent_where_nothing_is_set(ingestion: Ingestion, tmp_path: Path) -> None:
    printed, logged = await run_exporting(tmp_path, "sidetone-worker", PARENT)
    assert printed == PARENT
    assert [json.loads(line)["message"] for line in logged.splitlines()] == [
        "called from [number]",
        "tool failed",
    ]
    assert ingestion.paths == []
