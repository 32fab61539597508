"""What a cold start of the Functions app pays for imports, beside the SDKs that it cannot do without."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measures import Report, row
from benchmarks.stage import REPOSITORY

TITLE = "a Python process that imports the Functions app, from start to exit"

_SDKS = "import azure.functions, azure.durable_functions"
_NOTHING = "nothing"


async def measure(directory: Path, *, quick: bool) -> Report:
    """Start the three processes in turn; the first round only fills the caches of the disk."""
    del directory  # nothing is kept
    times = 5 if quick else 21
    programs = {"import function_app": "import function_app", _SDKS: _SDKS, _NOTHING: "pass"}
    took: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(times + 1):
        for name, program in programs.items():
            value = await asyncio.to_thread(_run, program)
            if turn:
                took[name].append(value)
    ours, sdks, nothing = took.values()
    return Report(
        name="import",
        title=TITLE,
        rows=(
            row("import function_app", "ms", ours, against=_SDKS),
            row(_SDKS, "ms", sdks),
            row(_NOTHING, "ms", nothing),
            row("ours: the difference", "ms", (a - b for a, b in zip(ours, sdks, strict=True))),
        ),
    )


def _run(program: str) -> float:
    environment = {
        name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ
    }
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, env=environment, check=True)
    return (time.perf_counter() - began) * 1000
