"""`python -m benchmarks.worker_load`: the worker beside its peers and a floor, on a core of its own."""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import this_machine
from benchmarks.worker_load.measuring import FULL, QUICK, Figures, Maker, Plan, measure
from benchmarks.worker_load.process_costs import cores, on_core
from benchmarks.worker_load.subjects import (
    FLOOR_CLIENT,
    OPENAI_AGENTS,
    PEERS_PYTHON,
    PYDANTIC_AI,
    Client,
    Worker,
)
from benchmarks.worker_load.telling import FLOOR, OURS, as_json, as_markdown
from emulators.local.addresses import run_directory
from emulators.local.errors import LocalStackError
from emulators.redis_server import RedisUnavailableError

_PEER_PACKAGES = ("openai-agents", "pydantic-ai-slim", "openai", "websockets", "pydantic", "uvloop")
_NAMES = (FLOOR, OURS, OPENAI_AGENTS.name, PYDANTIC_AI.name)


def main(arguments: list[str]) -> int:
    """Measure and print; return the exit code."""
    options = _parser().parse_args(arguments)
    plan: Plan = QUICK if options.quick else FULL
    if sys.platform != "linux":
        print("bench-worker: only Linux tells what this measures.", file=sys.stderr)
        return 1
    usable = cores()
    if len(usable) < 2:
        print("bench-worker: needs two cores, one for the measured process alone.", file=sys.stderr)
        return 1
    machine = this_machine()
    home = run_directory() / "benchmarks"
    makers = subjects(home / "work" / "worker", core=usable[0], names=options.only or _NAMES)
    try:
        with on_core(usable[1]):
            figures = run(makers, plan)
    except (LocalStackError, RedisUnavailableError) as error:
        print(f"bench-worker: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    given = (figures, plan, machine, _peer_versions(), "make bench-worker" + _arguments(arguments))
    told = json.dumps(as_json(*given), indent=2)
    (home / "worker.json").write_text(told + "\n", encoding="utf-8")
    print(told if options.json else as_markdown(*given))
    return 0


def run(makers: dict[str, Maker], plan: Plan) -> list[Figures]:
    """Measure in an event loop that is in nobody's way."""
    import uvloop

    gc.collect()
    gc.freeze()
    return uvloop.run(measure(makers, plan, lambda what: print(what, file=sys.stderr, flush=True)))


def subjects(directory: Path, *, core: int, names: Sequence[str]) -> dict[str, Maker]:
    """Return what makes each of the named subjects, on `core`."""
    makers: dict[str, Maker] = {OURS: lambda service: Worker(service, directory / "ours", core)}
    for program in (FLOOR_CLIENT, OPENAI_AGENTS, PYDANTIC_AI):
        makers[program.name] = lambda service, program=program: Client(
            service, program, directory / program.name, core
        )
    return {name: makers[name] for name in names}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench-worker",
        description="CPU, memory and tool overhead of a worker, beside other clients of the same sideband.",
        epilog="Takes some minutes and both cores; give arguments as ARGS=--quick.",
    )
    parser.add_argument("--quick", action="store_true", help="under a minute; good for a look")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--only", action="append", choices=_NAMES, help="measure only this (repeatable)")
    return parser


def _arguments(arguments: list[str]) -> str:
    return f' ARGS="{" ".join(arguments)}"' if arguments else ""


def _peer_versions() -> str:
    """Return the versions in the peers' environment, "" when there is none."""
    told = f"from importlib.metadata import version as v; print(*map(v, {_PEER_PACKAGES}))"
    try:
        done = subprocess.run([PEERS_PYTHON, "-c", told], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return ", ".join(f"{n} {v}" for n, v in zip(_PEER_PACKAGES, done.stdout.split(), strict=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
