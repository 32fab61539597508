"""How each figure is taken. Every subject meets the same service with the same turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.machine import stolen_s
from benchmarks.measures import percentile
from benchmarks.worker_load.process_costs import cpu_seconds, memory_kib
from benchmarks.worker_load.service import TURN_EVERY_S, Call, Service
from benchmarks.worker_load.subjects import Subject
from emulators.local.errors import LocalStackError

_WARM_TURNS = 2
_TURNS_WITHIN_S = 30.0
_AT_ONCE = 20  # calls that have their warm-up turns together
_LOOK_EVERY_S = 0.25
_STILL_KIB = 32.0
_PACED_WINDOW_S = 1.0
# A window in which more than this went to other machines says more about them than about what it measures:
# for that long nobody here ran, and hundreds of events were waiting afterwards.
_QUIET_S = 0.01
_PATIENCE = 2  # times the windows that are wanted, while other machines take the processors

Maker = Callable[[Service], Subject]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how many.

    busy_calls: calls that have turns without pauses, in `rounds` windows of `window_s` a subject, in turns.
    memory_at: with how many calls memory is looked at.
    paced: calls with one turn in TURN_EVERY_S each, and for how many seconds that is looked at, `lead_s`
        after the first has begun.
    """

    busy_calls: int
    rounds: int
    window_s: float
    memory_at: tuple[int, ...]
    paced: Mapping[int, float]
    lead_s: float = TURN_EVERY_S


FULL = Plan(busy_calls=50, rounds=12, window_s=1.0, memory_at=(100, 1000), paced={100: 24.0, 500: 24.0})
QUICK = Plan(busy_calls=20, rounds=3, window_s=0.5, memory_at=(100,), paced={100: 3.0})


@dataclass(frozen=True, kw_only=True)
class Paced:
    """What was seen of calls with one turn in TURN_EVERY_S each."""

    round_trips_ms: tuple[float, ...]
    cpu_ms_a_turn: float
    busy: float  # share of the core
    late: int
    quiet: str  # how many windows were, such as "6 of 8": only those are counted, if calls had turns in them

    def percentile(self, percent: float) -> float:
        return percentile(self.round_trips_ms, percent)


@dataclass(kw_only=True)
class Figures:
    """What one subject cost; empty where it was not measured. `failed` says why it could not be."""

    name: str
    cpu_ms_a_turn: list[float] = field(default_factory=list[float])
    kib_a_session: dict[int, float] = field(default_factory=dict[int, float])
    paced: dict[int, Paced] = field(default_factory=dict[int, Paced])
    doubled: int = 0
    failed: str = ""

    @property
    def cpu_ms(self) -> float:
        """Median CPU of a turn, in milliseconds."""
        return percentile(self.cpu_ms_a_turn, 50)


async def measure(makers: Mapping[str, Maker], plan: Plan, tell: Callable[[str], None]) -> list[Figures]:
    """Measure all subjects; one that fails keeps what it has, and the reason."""
    figures = {name: Figures(name=name) for name in makers}
    tell(f"throughput: {plan.busy_calls} calls without pauses, in turns")
    await _throughput(makers, plan, figures)
    for name, maker in makers.items():
        told = figures[name]
        if told.failed:
            continue
        tell(f"memory and paced calls: {name}")
        reused = False
        async with _failing_into(told), Service() as service, maker(service) as subject:
            told.kib_a_session = await _memory(subject, plan.memory_at)
            # What many calls left behind must not be in the way of paced ones.
            reused = max(plan.memory_at) <= max(plan.paced, default=0)
            if reused:
                await _pace(subject, plan, told)
        if plan.paced and not reused and not told.failed:
            async with _failing_into(told), Service() as service, maker(service) as subject:
                await _pace(subject, plan, told)
    return list(figures.values())


@asynccontextmanager
async def _failing_into(told: Figures) -> AsyncGenerator[None]:
    """Keep what a subject failed of; the others go on."""
    try:
        yield
    except TimeoutError as error:
        told.failed = str(error) or "it did not answer in time"
    except LocalStackError as error:
        told.failed = str(error)


async def _throughput(makers: Mapping[str, Maker], plan: Plan, figures: Mapping[str, Figures]) -> None:
    """Let the subjects run as fast as they can, one at a time, in turns: all meet the same machine."""
    async with AsyncExitStack() as stack:
        running: dict[str, tuple[Service, Subject, Sequence[Call]]] = {}
        for name, maker in makers.items():
            async with _failing_into(figures[name]):
                service = await stack.enter_async_context(Service())
                subject = await stack.enter_async_context(maker(service))
                calls = await subject.hold(plan.busy_calls)
                await _warm_up(calls)
                running[name] = (service, subject, calls)
        for _ in range(plan.rounds):
            for name, (service, subject, calls) in running.items():
                if not figures[name].failed:
                    async with _failing_into(figures[name]):
                        cost = await _window(service, subject, calls, plan.window_s)
                        figures[name].cpu_ms_a_turn.append(cost)
                        figures[name].doubled += service.doubled


async def _window(service: Service, subject: Subject, calls: Sequence[Call], window_s: float) -> float:
    """Return the CPU milliseconds of a turn."""
    for call in calls:
        call.begin(paced=False)
    await asyncio.sleep(window_s / 4)
    service.reset()
    before = cpu_seconds(subject.process)
    await asyncio.sleep(window_s)
    spent, turns = cpu_seconds(subject.process) - before, service.turns
    await _finish(calls)
    if not turns:
        raise TimeoutError
    return spent / turns * 1000


async def _finish(calls: Sequence[Call]) -> None:
    for call in calls:
        call.end()
    await _until(lambda: [call for call in calls if not call.idle])


async def _until(unfinished: Callable[[], Sequence[Call]]) -> None:
    """Wait until no call is left; an event in the service's hot path would be measured with it."""
    deadline = time.monotonic() + _TURNS_WITHIN_S
    while left := unfinished():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(left)} calls did not finish their turn within {_TURNS_WITHIN_S:g} s")
        await asyncio.sleep(0.005)


async def _warm_up(calls: Sequence[Call]) -> None:
    """Let each call have its first turns, not all at the same moment."""
    for first in range(0, len(calls), _AT_ONCE):
        some = calls[first : first + _AT_ONCE]
        for call in some:
            call.begin(paced=False)
        await _until(lambda some=some: [call for call in some if call.turns < _WARM_TURNS])
        await _finish(some)


async def _memory(subject: Subject, sizes: Sequence[int]) -> dict[int, float]:
    """Return the KiB that a call adds, for each number of calls, all of which have talked.

    The first call is not counted: it brings what is loaded only once.
    """
    await _warm_up(await subject.hold(1))
    empty = await _settled(subject.process)
    found: dict[int, float] = {}
    for size in sizes:
        await _warm_up([call for call in await subject.hold(size) if call.turns < _WARM_TURNS])
        found[size] = (await _settled(subject.process) - empty) / (size - 1)
    return found


async def _settled(process: int) -> float:
    size = memory_kib(process)
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        before, size = size, memory_kib(process)
        if abs(size - before) < _STILL_KIB:
            return size


async def _pace(subject: Subject, plan: Plan, told: Figures) -> None:
    """Let the calls have a turn in TURN_EVERY_S each, spread evenly, and look once all have begun."""
    service = subject.service
    for number, seconds in plan.paced.items():
        calls = await subject.hold(number)
        for place, call in enumerate(calls):
            call.begin(paced=True, after_s=place / number * TURN_EVERY_S)
        await asyncio.sleep(plan.lead_s)
        windows: list[_Window] = []
        wanted = max(1, round(seconds / _PACED_WINDOW_S))
        while sum(one.quiet for one in windows) < wanted and len(windows) < wanted * _PATIENCE:
            windows.append(await _paced_window(subject, min(seconds, _PACED_WINDOW_S)))
            told.doubled += service.doubled
        await _finish(calls)
        seen = _counted(windows)
        trips = tuple(took for one in seen for took in one.round_trips_ms)
        turns = sum(one.turns for one in seen)
        if not trips or not turns:
            raise TimeoutError
        spent = sum(one.cpu_s for one in seen)
        told.paced[number] = Paced(
            round_trips_ms=trips,
            cpu_ms_a_turn=spent / turns * 1000,
            busy=spent / sum(one.took_s for one in seen),
            late=sum(one.late for one in seen),
            quiet=f"{sum(one.quiet for one in windows)} of {len(windows)}",
        )


def _counted(windows: list[_Window]) -> list[_Window]:
    """Return the quiet windows; all of them where none was, or few calls had no turn in those that were."""
    quiet = [one for one in windows if one.quiet]
    if any(one.round_trips_ms for one in quiet) and any(one.turns for one in quiet):
        return quiet
    return windows


@dataclass(frozen=True, kw_only=True)
class _Window:
    """Some seconds of paced calls."""

    round_trips_ms: tuple[float, ...]
    turns: int
    late: int
    cpu_s: float
    took_s: float
    stolen_s: float

    @property
    def quiet(self) -> bool:
        return self.stolen_s <= _QUIET_S


async def _paced_window(subject: Subject, seconds: float) -> _Window:
    service = subject.service
    service.reset()
    stolen, before, began = stolen_s(), cpu_seconds(subject.process), time.perf_counter()
    await asyncio.sleep(seconds)
    return _Window(
        cpu_s=cpu_seconds(subject.process) - before,
        took_s=time.perf_counter() - began,
        stolen_s=stolen_s() - stolen,
        round_trips_ms=tuple(service.round_trips),
        turns=service.turns,
        late=service.late,
    )
