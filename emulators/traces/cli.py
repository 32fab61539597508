"""`python -m emulators traces`: run the trace sink alone."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from aiohttp import web

from emulators.traces.server import make_app
from emulators.traces.trace_store import TraceStore

_SHUTDOWN_S = 1.0


def main(argv: list[str]) -> int:
    """Serve until SIGINT or SIGTERM; return 0, or 1 with one sentence when the port is taken."""
    parser = argparse.ArgumentParser(
        prog="python -m emulators traces",
        description="Receive OpenTelemetry traces (OTLP over HTTP, protobuf) and draw them as text.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=4318, help="port, 0 for any (default %(default)s)")
    parser.add_argument("--max-traces", type=int, default=500, help="traces kept (default %(default)s)")
    options = parser.parse_args(argv)
    try:
        asyncio.run(_serve(options.host, options.port, max(1, options.max_traces)))
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


async def _serve(host: str, port: int, max_traces: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    runner = web.AppRunner(
        make_app(TraceStore(max_traces=max_traces)), access_log=None, shutdown_timeout=_SHUTDOWN_S
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        print(f"ready http://{host}:{runner.addresses[0][1]}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
