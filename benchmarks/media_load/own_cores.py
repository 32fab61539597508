"""Whether two cores were ours: what is measured has one of them to itself, its two ends have the other.

On a virtual machine the host takes cores away, for less than the tick of 10 ms in which Linux tells it
(`steal` in proc_stat(5)), and most of all those that were asleep. So the measured core is kept awake, and the
time of both is counted: what no process of the benchmark has had, others had.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from benchmarks.worker_load.process_costs import cpu_seconds

# Of a core's time, in a window, in the one before it, and in the second before.
_LOST = 0.01

# SCHED_IDLE: it runs when nobody else on the core wants to; but even so it has its turn of a whole tick now
# and then, unless it gives each up. It ends with whoever started it, however that one ends.
_SPIN = """
import os, sys
parent = int(sys.argv[1])
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
give_way = os.sched_yield
while os.getppid() == parent:
    for _ in range(1000):
        give_way()
"""


@contextlib.contextmanager
def kept_awake(core: int) -> Generator[int]:
    """Keep a core from sleeping, and give way to everybody on it; yields the process that does it."""
    spinner = subprocess.Popen([sys.executable, "-c", _SPIN, str(os.getpid())])
    try:
        os.sched_setaffinity(spinner.pid, {core})
        yield spinner.pid
    finally:
        spinner.kill()
        spinner.wait()


@dataclass(frozen=True, kw_only=True)
class OwnCores:
    """measured, ends: the processes that make up all of the benchmark's work on one core each, and never let
    it sleep."""

    measured: Sequence[int]
    ends: Sequence[int]

    def others_s(self) -> tuple[float, float]:
        """Return the seconds that each core spent on others, counted from any fixed moment."""
        now = time.perf_counter()
        return now - _spent(self.measured), now - _spent(self.ends)


def _spent(processes: Sequence[int]) -> float:
    return sum(cpu_seconds(process) for process in processes)


@dataclass(kw_only=True)
class Quiet:
    """Tells window by window whether both cores were ours, in it and before it.

    window_s: how long a window is. before: how many windows make a second.
    """

    cores: OwnCores
    window_s: float
    before: int
    _told: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def look(self) -> bool:
        """Look at the end of a window; returns whether it was quiet. The first looks only begin to count."""
        self._told.append(self.cores.others_s())
        if len(self._told) < self.before + 2:
            return False
        second_ago, earlier, began, now = (self._told[at] for at in (-self.before - 2, -3, -2, -1))
        return all(
            max(now[core] - began[core], began[core] - earlier[core]) <= _LOST * self.window_s
            and began[core] - second_ago[core] <= _LOST * self.window_s * self.before
            for core in range(len(now))
        )
