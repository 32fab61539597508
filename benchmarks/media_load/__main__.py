"""`python -m benchmarks.media_load`: the worker's media sockets beside bridges that do nothing else."""

from __future__ import annotations

import argparse
import gc
import json
import sys
from dataclasses import replace

from benchmarks.machine import this_machine
from benchmarks.measures import percentile
from benchmarks.media_load.measuring import FULL, QUICK, Figures, Load, Maker, Plan, measure
from benchmarks.media_load.subjects import Bridge, Worker
from benchmarks.worker_load.process_costs import cores, on_core
from emulators.local.addresses import run_directory
from emulators.local.errors import LocalStackError
from emulators.redis_server import RedisUnavailableError

OURS = "Sidetone worker"
FLOOR = "floor"
_TITLES = {
    FLOOR: "floor: picows, bytes sliced",
    OURS: OURS,
    "sliced": "aiohttp, text sliced, uvloop",
    "naive": "aiohttp, json and base64",
}


def main(arguments: list[str]) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="make bench-media",
        description="CPU and delay of calls whose audio passes through, beside bridges that do nothing else.",
    )
    parser.add_argument("--quick", action="store_true", help="half a minute; good for a look")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--before-others",
        action="store_true",
        help="run what is measured before all else on this machine, where others are at work too; needs root",
    )
    options = parser.parse_args(arguments)
    plan: Plan = replace(QUICK if options.quick else FULL, before_others=options.before_others)
    usable = cores()
    if sys.platform != "linux" or len(usable) < 2:
        print("bench-media: needs Linux and two cores, one for the measured process.", file=sys.stderr)
        return 1
    machine = this_machine()
    work = run_directory() / "benchmarks" / "work" / "media"
    makers: dict[str, Maker] = {
        name: lambda exchange, name=name: (
            Worker(exchange, work / "ours", usable[0])
            if name == OURS
            else Bridge(exchange, name, work, usable[0])
        )
        for name in _TITLES
    }
    try:
        with on_core(usable[1]):
            figures = _run(makers, plan, usable[0])
    except (LocalStackError, RedisUnavailableError) as error:
        print(f"bench-media: {error}", file=sys.stderr)
        return 1
    except PermissionError:
        print("bench-media: --before-others needs root or CAP_SYS_NICE; leave it out.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    told = json.dumps(as_json(figures), indent=2)
    (run_directory() / "benchmarks" / "media.json").write_text(told + "\n", encoding="utf-8")
    print(told if options.json else "\n".join([*as_markdown(figures), "", *machine.sentences()]))
    return 0


def _run(makers: dict[str, Maker], plan: Plan, core: int) -> list[Figures]:
    import uvloop

    gc.disable()  # whoever takes the times must not pause

    def tell(what: str) -> None:
        print(what, file=sys.stderr, flush=True)

    return uvloop.run(measure(makers, plan, ours=OURS, floor=FLOOR, core=core, tell=tell))


def as_markdown(figures: list[Figures]) -> list[str]:
    floors = {
        load.calls: load.cpu_ms
        for one in figures
        if one.name == FLOOR and not one.failed
        for load in (one.load, *one.many)
    }
    lines = [
        "| | calls | CPU ms of a call's second | times the floor | core busy "
        "| p50 ms | p99 ms | late | windows quiet |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in figures:
        title = _TITLES.get(one.name, one.name)
        if one.failed:
            lines.append(f"| {title} | | failed: {one.failed} | | | | | | |")
            continue
        lines += [_row(title, load, floors.get(load.calls, 0.0)) for load in (one.load, *one.many)]
    for one in figures:
        if one.stops_ms:
            told = f"p50 {percentile(one.stops_ms, 50):.2f} ms, p99 {percentile(one.stops_ms, 99):.2f} ms"
            lines += ["", f"Speech started to StopAudio, {len(one.stops_ms)} times: {told}"]
    return lines


def _row(title: str, load: Load, floor: float) -> str:
    times = f"{load.cpu_ms / floor:.2f}" if floor else ""
    busy = f"{load.busy:.0%}"
    delays = f"{load.latency_ms(50):.2f} | {load.latency_ms(99):.2f} | {load.late}"
    windows = f"{load.quiet_windows} of {len(load.windows)}"
    return f"| {title} | {load.calls} | {load.cpu_ms:.2f} | {times} | {busy} | {delays} | {windows} |"


def as_json(figures: list[Figures]) -> list[dict[str, object]]:
    def shown(load: Load) -> dict[str, object]:
        return {
            "calls": load.calls,
            "cpu_ms_a_call_second": round(load.cpu_ms, 3),
            "core_busy": round(load.busy, 3),
            "p50_ms": round(load.latency_ms(50), 3),
            "p99_ms": round(load.latency_ms(99), 3),
            "late_frames": load.late,
            "frames": load.frames,
            "windows": len(load.windows),
            "quiet_windows": load.quiet_windows,
            "all_windows": {"p99_ms": round(load.anyway_ms(99), 3), "late_frames": load.late_anyway},
        }

    return [
        {
            "name": one.name,
            "failed": one.failed,
            **({} if one.failed else {"load": shown(one.load), "many": [shown(load) for load in one.many]}),
            **({"stop_audio_p99_ms": round(percentile(one.stops_ms, 99), 3)} if one.stops_ms else {}),
        }
        for one in figures
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
