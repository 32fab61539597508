"""`python -m benchmarks`: measure, print, and leave the figures in .run/benchmarks/NAME.json."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Protocol, cast

from benchmarks.machine import Machine, this_machine
from benchmarks.measures import Report
from benchmarks.rendering import as_json, as_markdown, as_text
from emulators.local.addresses import run_directory
from emulators.local.errors import LocalStackError
from emulators.redis_server import RedisUnavailableError

BENCHMARKS: dict[str, str] = {
    "token": "benchmarks.token_request",
    "attach": "benchmarks.attach",
    "tools": "benchmarks.tools",
    "store": "benchmarks.store",
    "memory": "benchmarks.memory",
    "import": "benchmarks.import_time",
}
"""Name on the command line -> module with `TITLE` and `measure(directory, *, quick)`."""


class Benchmark(Protocol):
    """What a benchmark's module has. `directory` is the benchmark's own; it is emptied."""

    TITLE: str

    async def measure(self, directory: Path, *, quick: bool) -> Report: ...


def main(arguments: list[str]) -> int:
    """Run the benchmarks that `arguments` name, or all; return the exit code."""
    options = _parser().parse_args(arguments)
    names: list[str] = options.name or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        known = ", ".join(BENCHMARKS)
        print(f"benchmarks: there is no benchmark {unknown[0]!r}; there are: {known}.", file=sys.stderr)
        return 2
    try:
        asyncio.run(_run(names, quick=options.quick, markdown=options.markdown))
    except (LocalStackError, RedisUnavailableError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what Sidetone costs, always beside a floor: the least that does the same.",
        epilog="All of them take some minutes; with --quick, about one. Leave the machine alone meanwhile.",
    )
    parser.add_argument("name", nargs="*", help=f"{', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; good for a look")
    parser.add_argument("--markdown", action="store_true", help="print one Markdown table, as in the README")
    return parser


async def _run(names: list[str], *, quick: bool, markdown: bool) -> None:
    home = run_directory() / "benchmarks"
    home.mkdir(parents=True, exist_ok=True)
    machine = this_machine()
    command = " ".join(["python -m benchmarks", *names, *(["--quick"] if quick else [])])
    progress = sys.stderr if markdown else sys.stdout
    print(*machine.sentences(), sep="\n", file=progress, flush=True)
    chosen = {name: cast("Benchmark", importlib.import_module(BENCHMARKS[name])) for name in names}
    reports: list[Report] = []
    for name, benchmark in chosen.items():
        began = time.monotonic()
        directory = home / "work" / name
        try:
            report = await benchmark.measure(directory, quick=quick)
        except TimeoutError as error:
            raise LocalStackError(
                f"{name}: an answer did not come in time; the processes' logs lie in {directory / 'logs'}."
            ) from error
        reports.append(report)
        _keep(home / f"{name}.json", report, machine, command=command, quick=quick)
        took = f"({time.monotonic() - began:.0f} s)"
        print(f"\n{as_text(report)}\n  {took}", file=progress, flush=True)
    if markdown:
        print("\n".join([as_markdown(reports), "", *machine.sentences(), f"`{command}`"]))


def _keep(path: Path, report: Report, machine: Machine, *, command: str, quick: bool) -> None:
    content = as_json(report, machine, command=command, quick=quick)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
