"""How each figure is taken: all bridges meet the same callers, in turns, and so the same machine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field

from benchmarks.machine import QUIET_S, stolen_s
from benchmarks.measures import percentile
from benchmarks.media_load.exchange import Exchange
from benchmarks.media_load.subjects import Subject
from benchmarks.worker_load.process_costs import before_others, cpu_seconds
from emulators.local.errors import LocalStackError

FRAMES_A_SECOND = 50

_LEAD_S = 0.5
_PATIENCE = 2  # times the windows that are wanted, while other machines take the processors

Maker = Callable[[Exchange], Subject]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """calls: at a time, in `rounds` windows of `window_s` a subject, in turns. many: with how many calls the
    worker and the floor are looked at beyond that, in windows of `many_s`. interruptions: of each call, a
    second apart. before_others: whether what is measured, and both ends, have the machine for themselves."""

    calls: int
    rounds: int
    window_s: float
    many: tuple[int, ...]
    many_rounds: int
    many_s: float
    interruptions: int = 4
    before_others: bool = False


FULL = Plan(calls=50, rounds=16, window_s=1.0, many=(100, 200), many_rounds=12, many_s=1.0)
QUICK = Plan(calls=50, rounds=3, window_s=1.0, many=(200,), many_rounds=2, many_s=1.5)


@dataclass(frozen=True, kw_only=True)
class Window:
    """What was seen in some seconds. `cpu_ms`: of a second of one call, 50 frames each way."""

    cpu_ms: float
    busy: float
    ends_busy: float
    latencies_ms: list[float]
    late: int
    stolen_s: float


@dataclass(kw_only=True)
class Load:
    """What was seen with `calls` calls at a time."""

    calls: int
    windows: list[Window] = field(default_factory=list[Window])

    @property
    def counted(self) -> list[Window]:
        """The quiet windows, in which the machine was here; all of them where it never was."""
        return [one for one in self.windows if one.stolen_s <= QUIET_S] or self.windows

    @property
    def cpu_ms(self) -> float:
        """Median CPU of a second of one call, 50 frames each way, in milliseconds."""
        return percentile([one.cpu_ms for one in self.counted], 50)

    @property
    def busy(self) -> float:
        return percentile([one.busy for one in self.counted], 50)

    @property
    def ends_busy(self) -> float:
        return percentile([one.ends_busy for one in self.counted], 50)

    @property
    def late(self) -> int:
        return sum(one.late for one in self.counted)

    @property
    def frames(self) -> int:
        return sum(len(one.latencies_ms) for one in self.counted)

    def latency_ms(self, percent: float) -> float:
        return percentile([took for one in self.counted for took in one.latencies_ms], percent)

    @property
    def quiet_windows(self) -> int:
        return sum(one.stolen_s <= QUIET_S for one in self.windows)

    def wants_more(self, rounds: int) -> bool:
        """Whether fewer than `rounds` windows were quiet, and there is hope."""
        return self.quiet_windows < rounds and len(self.windows) < rounds * _PATIENCE


@dataclass(kw_only=True)
class Figures:
    """What one subject cost; `failed` says why it could not be measured."""

    name: str
    load: Load
    many: list[Load] = field(default_factory=list[Load])
    stops_ms: list[float] = field(default_factory=list[float])
    failed: str = ""


async def measure(
    makers: Mapping[str, Maker], plan: Plan, *, ours: str, floor: str, tell: Callable[[str], None]
) -> list[Figures]:
    """Measure all subjects; how soon `ours` lets the agent be interrupted; and what it can hold, beside what
    the `floor` can, for neither can hold more than this machine and the two ends let it."""
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
        tell(f"{plan.calls} calls, {', '.join(running)} in turns")
        while any(figures[name].load.wants_more(plan.rounds) for name in running):
            for name, subject in running.items():
                with _priority(plan, subject):
                    await _window(subject, figures[name].load, plan.window_s)
        if ours in running:
            with _priority(plan, running[ours]):
                await _barge_in(running[ours], figures[ours], plan)
        compared = {name: running[name] for name in (floor, ours) if name in running}
        for calls in plan.many:
            tell(f"{calls} calls, {', '.join(compared)} in turns")
            for name, subject in compared.items():
                await subject.hold(calls)
                figures[name].many.append(Load(calls=calls))
            while any(figures[name].many[-1].wants_more(plan.many_rounds) for name in compared):
                for name, subject in compared.items():
                    with _priority(plan, subject):
                        await _window(subject, figures[name].many[-1], plan.many_s)
    return list(figures.values())


def _priority(plan: Plan, subject: Subject) -> AbstractContextManager[None]:
    return before_others(os.getpid(), subject.process) if plan.before_others else nullcontext()


async def _window(subject: Subject, load: Load, seconds: float) -> None:
    exchange = subject.exchange
    exchange.speak()
    await asyncio.sleep(_LEAD_S)
    exchange.figures.reset()
    loop = asyncio.get_running_loop()
    stolen_before = stolen_s()
    before, ours_before, began = cpu_seconds(subject.process), time.process_time(), loop.time()
    await asyncio.sleep(seconds)
    spent, took = cpu_seconds(subject.process) - before, loop.time() - began
    carried = len(exchange.figures.latencies_ms)
    if not carried:
        raise TimeoutError("no frame came through")
    load.windows.append(
        Window(
            # By the frames that came through: a bridge that is behind must not look cheap.
            cpu_ms=spent / carried * FRAMES_A_SECOND * 1000,
            busy=spent / took,
            ends_busy=(time.process_time() - ours_before) / took,
            latencies_ms=list(exchange.figures.latencies_ms),
            late=exchange.figures.late,
            stolen_s=stolen_s() - stolen_before,
        )
    )
    exchange.be_silent()
    await asyncio.sleep(0.1)


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
