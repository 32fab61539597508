"""Run the program of tests/integration/telemetry that exports telemetry, in a process of its own."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_PROGRAM = "tests.integration.telemetry.exporting_program"


async def run_exporting(directory: Path, role: str, parent: str = "", **environment: str) -> tuple[str, str]:
    """Return what it printed: its traceparent, and its log lines."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        _PROGRAM,
        role,
        parent,
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "REDIS_URL": "redis://127.0.0.1:1",
            "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:1",
            "SIGNING_KEYS": "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
            "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
            "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
            **environment,
        },
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode().strip(), err.decode()
