"""The figures as tables for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.machine import Machine
from benchmarks.measures import percentile
from benchmarks.rendering import number
from benchmarks.worker_load.measuring import Figures, Plan
from benchmarks.worker_load.service import TURN_EVERY_S
from benchmarks.worker_load.turn import DELTAS, EVENTS

OURS, FLOOR = "Sidetone worker", "floor"

# What the worker shall reach, its Redis writes included.
CPU_TIMES_FLOOR = 2.2
FASTER_THAN = {"openai-agents": 5.0, "pydantic-ai": 4.0}
KIB_A_SESSION = {1000: 60.0}
OVERHEAD_P99_MS = {100: 4.0, 500: 15.0}


def as_markdown(figures: Sequence[Figures], plan: Plan, machine: Machine, versions: str, command: str) -> str:
    """Return tables with what a reader of them needs to know."""
    return "\n".join(
        [
            *_costs(figures, plan),
            "",
            *_round_trips(figures, plan),
            "",
            *_aims(figures),
            "",
            *machine.sentences(),
            versions or "(the peers are not installed)",
            f"`{command}`",
            f"A turn is {EVENTS} events, of which {DELTAS} are transcript deltas and one calls a function.",
        ]
    )


def as_json(
    figures: Sequence[Figures], plan: Plan, machine: Machine, versions: str, command: str
) -> dict[str, object]:
    """Return all that was measured."""
    return {
        "command": command,
        "machine": asdict(machine),
        "peers": versions,
        "plan": {**asdict(plan), "turn_every_s": TURN_EVERY_S, "events": EVENTS, "deltas": DELTAS},
        "subjects": [
            {
                **asdict(told),
                "cpu_ms_a_turn_p50": told.cpu_ms if told.cpu_ms_a_turn else None,
                "paced": {
                    calls: {
                        **{f"p{percent}": seen.percentile(percent) for percent in (50, 95, 99)},
                        "round_trips": len(seen.round_trips_ms),
                        "cpu_ms_a_turn": seen.cpu_ms_a_turn,
                        "busy": seen.busy,
                        "late": seen.late,
                        "quiet_windows": seen.quiet,
                    }
                    for calls, seen in told.paced.items()
                },
            }
            for told in figures
        ],
        "aims": _aims(figures),
    }


def _costs(figures: Sequence[Figures], plan: Plan) -> list[str]:
    sizes = plan.memory_at
    heads = ["CPU ms a turn", "x floor", "turns per CPU-second", *(f"KiB a session at {n:,}" for n in sizes)]
    floor = next((f.cpu_ms for f in figures if f.name == FLOOR and f.cpu_ms_a_turn), 0.0)
    lines = _table_head(heads)
    for told in figures:
        cells = ["-"] * 3
        if told.cpu_ms_a_turn:
            low, high = percentile(told.cpu_ms_a_turn, 10), percentile(told.cpu_ms_a_turn, 90)
            cells[0] = f"{number(told.cpu_ms)} ({number(low)} to {number(high)})"
            cells[1] = number(told.cpu_ms / floor) if floor else "-"
            cells[2] = f"{1000 / told.cpu_ms:,.0f}"
        cells += [number(told.kib_a_session[n]) if n in told.kib_a_session else "-" for n in sizes]
        lines.append(_line(told, cells))
    return lines


def _round_trips(figures: Sequence[Figures], plan: Plan) -> list[str]:
    heads: list[str] = []
    for calls in plan.paced:
        heads += [f"{calls} sessions, ms: p50", "p95", "p99", "core busy"]
    lines = _table_head(heads)
    for told in figures:
        cells: list[str] = []
        for calls in plan.paced:
            seen = told.paced.get(calls)
            if seen is None:
                cells += ["-"] * 4
            else:
                late = f", {seen.late} turns late" if seen.late else ""
                late += f", {seen.quiet} windows quiet"
                cells += [number(seen.percentile(percent)) for percent in (50, 95, 99)]
                cells.append(f"{seen.busy:.0%}{late}")
        lines.append(_line(told, cells))
    return lines


def _aims(figures: Sequence[Figures]) -> list[str]:
    """Return a line for each aim: what it is, what was found, whether that reaches it."""
    by_name = {told.name: told for told in figures}
    ours = by_name.get(OURS)
    if ours is None or not ours.cpu_ms_a_turn:
        return []
    lines: list[str] = []

    def aim(what: str, found: float, reached: bool) -> None:
        lines.append(f"- {what}: {number(found)} ({'reached' if reached else 'MISSED'})")

    floor = by_name.get(FLOOR)
    if floor is not None and floor.cpu_ms_a_turn:
        times = ours.cpu_ms / floor.cpu_ms
        aim(f"CPU a turn, at most {CPU_TIMES_FLOOR} x floor", times, times <= CPU_TIMES_FLOOR)
    for name, least in FASTER_THAN.items():
        peer = by_name.get(name)
        if peer is not None and peer.cpu_ms_a_turn:
            times = peer.cpu_ms / ours.cpu_ms
            aim(f"turns per CPU-second, at least {least:g} x {name}", times, times >= least)
    for calls, most in KIB_A_SESSION.items():
        if calls in ours.kib_a_session:
            found = ours.kib_a_session[calls]
            aim(f"KiB a session at {calls:,}, under {most:g}", found, found < most)
    for calls, most in OVERHEAD_P99_MS.items():
        if calls in ours.paced:
            found = ours.paced[calls].percentile(99)
            aim(f"tool overhead p99 at {calls} sessions, under {most:g} ms", found, found < most)
    if ours.doubled:
        lines.append(f"- {ours.doubled} outputs were sent twice (MISSED)")
    return lines


def _table_head(heads: Sequence[str]) -> list[str]:
    return [f"| | {' | '.join(heads)} |", f"|---|{'--:|' * len(heads)}"]


def _line(told: Figures, cells: Sequence[str]) -> str:
    failed = f" (failed: {told.failed.replace('|', '/')})" if told.failed else ""
    return f"| {told.name}{failed} | {' | '.join(cells)} |"
