"""How each figure is taken: all bridges meet the same callers, in turns, and so the same machine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field

from benchmarks.measures import percentile
from benchmarks.media_load.exchange import Exchange
from benchmarks.media_load.own_cores import OwnCores, Quiet, kept_awake
from benchmarks.media_load.subjects import Subject
from benchmarks.worker_load.process_costs import before_others, cpu_seconds
from emulators.local.errors import LocalStackError

FRAMES_A_SECOND = 50

_LEAD_S = 1.0
_WINDOW_S = 0.25

Maker = Callable[[Exchange], Subject]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """calls: at a time. many: with how many the worker and the floor are looked at beyond that.

    The subjects take turns of `turn_s`, a row of windows each, until every one has had `quiet` windows in
    which the processors were ours, or `patience_s` are over. interruptions: of each call, a second apart.
    before_others: whether what is measured goes before all else that runs on this machine.
    """

    calls: int
    many: tuple[int, ...]
    turn_s: float
    quiet: int
    patience_s: float
    interruptions: int = 4
    before_others: bool = False


FULL = Plan(calls=50, many=(100, 200), turn_s=2.0, quiet=48, patience_s=120.0)
QUICK = Plan(calls=50, many=(200,), turn_s=1.5, quiet=6, patience_s=10.0)


@dataclass(frozen=True, kw_only=True)
class Window:
    """What was seen in a part of a second.

    cpu_ms: of a second of one call, 50 frames each way.
    quiet: both cores were ours in it and before it, when frames came that may still wait.
    """

    cpu_ms: float
    busy: float
    latencies_ms: list[float]
    late: int
    quiet: bool


@dataclass(kw_only=True)
class Load:
    """What was seen with `calls` calls at a time."""

    calls: int
    windows: list[Window] = field(default_factory=list[Window])

    @property
    def counted(self) -> list[Window]:
        """The quiet windows; all of them where none was."""
        return [one for one in self.windows if one.quiet] or self.windows

    @property
    def cpu_ms(self) -> float:
        """Median CPU of a second of one call, 50 frames each way, in milliseconds."""
        return percentile([one.cpu_ms for one in self.counted], 50)

    @property
    def busy(self) -> float:
        return percentile([one.busy for one in self.counted], 50)

    @property
    def late(self) -> int:
        return sum(one.late for one in self.counted)

    @property
    def frames(self) -> int:
        return sum(len(one.latencies_ms) for one in self.counted)

    def latency_ms(self, percent: float) -> float:
        return percentile([took for one in self.counted for took in one.latencies_ms], percent)

    def anyway_ms(self, percent: float) -> float:
        """The latency in all windows, also those in which others had the cores."""
        return percentile([took for one in self.windows for took in one.latencies_ms], percent)

    @property
    def late_anyway(self) -> int:
        return sum(one.late for one in self.windows)

    @property
    def quiet_windows(self) -> int:
        return sum(one.quiet for one in self.windows)


@dataclass(kw_only=True)
class Figures:
    """What one subject cost; `failed` says why it could not be measured."""

    name: str
    load: Load
    many: list[Load] = field(default_factory=list[Load])
    stops_ms: list[float] = field(default_factory=list[float])
    failed: str = ""


async def measure(
    makers: Mapping[str, Maker],
    plan: Plan,
    *,
    ours: str,
    floor: str,
    core: int,
    tell: Callable[[str], None],
) -> list[Figures]:
    """Measure all subjects; how soon `ours` lets the agent be interrupted; and what it can hold, beside what
    the `floor` can, for neither can hold more than this machine and the two ends let it.

    core: where the makers' subjects run; it has nothing else to do.
    """
    figures = {name: Figures(name=name, load=Load(calls=plan.calls)) for name in makers}
    async with AsyncExitStack() as stack:
        running: dict[str, Subject] = {}
        for name, maker in makers.items():
            try:
                exchange = await stack.enter_async_context(Exchange())
                running[name] = await stack.enter_async_context(maker(exchange))
                await running[name].hold(plan.calls)
            except (LocalStackError, TimeoutError) as error:
                figures[name].failed = str(error)
                running.pop(name, None)
        with kept_awake(core) as spinner:
            cores = OwnCores(
                measured=[spinner, *(one.process for one in running.values())],
                ends=[os.getpid(), *(helper for one in running.values() for helper in one.helpers)],
            )
            tell(f"{plan.calls} calls, {', '.join(running)} in turns")
            await _in_turns([(running[name], figures[name].load) for name in running], plan, cores)
            if ours in running:
                with _priority(plan, running[ours]):
                    await _barge_in(running[ours], figures[ours], plan)
            compared = {name: running[name] for name in (floor, ours) if name in running}
            for calls in plan.many:
                tell(f"{calls} calls, {', '.join(compared)} in turns")
                for name, subject in compared.items():
                    await subject.hold(calls)
                    figures[name].many.append(Load(calls=calls))
                turns = [(subject, figures[name].many[-1]) for name, subject in compared.items()]
                await _in_turns(turns, plan, cores)
    return list(figures.values())


async def _in_turns(turns: Sequence[tuple[Subject, Load]], plan: Plan, cores: OwnCores) -> None:
    give_up_at = time.monotonic() + plan.patience_s
    while True:
        for subject, load in turns:
            with _priority(plan, subject):
                load.windows += await _turn(subject, plan.turn_s, cores)
        if all(load.quiet_windows >= plan.quiet for _, load in turns) or time.monotonic() >= give_up_at:
            return


def _priority(plan: Plan, subject: Subject) -> AbstractContextManager[None]:
    return before_others(subject.process) if plan.before_others else nullcontext()


async def _turn(subject: Subject, seconds: float, cores: OwnCores) -> list[Window]:
    exchange = subject.exchange
    lead = round(_LEAD_S / _WINDOW_S)
    quiet = Quiet(cores=cores, window_s=_WINDOW_S, before=lead)
    exchange.speak()
    for _ in range(lead):
        quiet.look()
        await asyncio.sleep(_WINDOW_S)
    quiet.look()
    windows = [await _window(subject, quiet) for _ in range(round(seconds / _WINDOW_S))]
    exchange.be_silent()
    await asyncio.sleep(0.1)
    return windows


async def _window(subject: Subject, quiet: Quiet) -> Window:
    figures = subject.exchange.figures
    figures.reset()
    before, began = cpu_seconds(subject.process), time.perf_counter()
    await asyncio.sleep(_WINDOW_S)
    spent, took = cpu_seconds(subject.process) - before, time.perf_counter() - began
    latencies_ms = list(figures.latencies_ms)  # what comes from now on is not the window's
    carried = len(latencies_ms)
    if not carried:
        raise TimeoutError("no frame came through")
    return Window(
        # By the frames that came through: a bridge that is behind must not look cheap.
        cpu_ms=spent / carried * FRAMES_A_SECOND * 1000,
        busy=spent / took,
        latencies_ms=latencies_ms,
        late=figures.late,
        quiet=quiet.look(),
    )


async def _barge_in(subject: Subject, figures: Figures, plan: Plan) -> None:
    """Interrupt all calls, one after another, while they all talk."""
    exchange = subject.exchange
    exchange.speak()
    await asyncio.sleep(_LEAD_S)
    exchange.figures.reset()
    for _ in range(plan.interruptions):
        await exchange.interrupt_all()
    await asyncio.sleep(0.2)
    figures.stops_ms = exchange.figures.stops_ms
    exchange.be_silent()
