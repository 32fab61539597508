"""Stopping and set-up in processes of their own: a collector that is silent must not hold anything up."""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import pytest

from tests.support.exporting import REPOSITORY

PRELUDE = """
import sys
from pydantic import SecretStr
from shared.settings import CommonSettings
from shared.telemetry.logs import get_logger
from shared.telemetry.setup import configure_telemetry, shutdown_telemetry
from shared.telemetry.trace_context import span
settings = CommonSettings(
    redis_url="redis://127.0.0.1",
    azure_openai_endpoint="http://127.0.0.1",
    otel_exporter_otlp_endpoint=sys.argv[1],
    signing_keys=SecretStr("k:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="),
)
"""


async def run(program: str, endpoint: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PRELUDE + program, endpoint, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return out.decode().strip()


@pytest.mark.parametrize("stop", ["shutdown_telemetry(0.3)", "pass"])
async def test_a_collector_that_never_answers_holds_nobody_up(stop: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        program = (
            "configure_telemetry(settings, role='test')\n"
            "with span('call.attach'):\n"
            "    get_logger('test').warning('hello')\n"
            f"print('at the end', flush=True)\n{stop}\n"
        )
        started = time.monotonic()
        assert await run(program, f"http://127.0.0.1:{silent.getsockname()[1]}") == "at the end"
        assert time.monotonic() - started < 10, "the SDK alone would take from 10 to 30 s"


async def test_what_a_host_has_set_up_is_left_alone() -> None:
    program = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
hosts = TracerProvider()
trace.set_tracer_provider(hosts)
configure_telemetry(settings, role="test")
assert trace.get_tracer_provider() is hosts
assert not any("otlp" in name for name in sys.modules), "exporters were loaded for nothing"
shutdown_telemetry()
with span("call.attach") as opened:
    print(opened.recording)
"""
    assert await run(program, "http://127.0.0.1:9") == "True"


async def test_without_an_exporter_no_sdk_is_loaded() -> None:
    program = """
configure_telemetry(settings, role="test")
with span("call.attach") as opened:
    pass
shutdown_telemetry()
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "azure", "requests"))])
"""
    assert await run(program, "") == "[]"
