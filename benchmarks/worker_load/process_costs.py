"""What a process has used, and where it may run. Linux tells all of it; elsewhere there is less to see."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator
from pathlib import Path


def cpu_seconds(process: int) -> float:
    """Return the CPU time of all threads of a process, the ones that ended included.

    The clock of another process is clock_getcpuclockid(3)'s: its id is made of the process's.
    """
    return time.clock_gettime((~process << 3) | 2)


def memory_kib(process: int) -> float:
    """Return the memory that only this process holds: the sum of its private pages (Linux smaps_rollup)."""
    told = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in told.splitlines()[1:])
    return float(sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")))


def cores() -> list[int]:
    """Return the cores that we may use."""
    return sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def before_others(*processes: int) -> Generator[None]:
    """Run these processes before everything else on the machine while the block lasts (Linux SCHED_RR).

    Raises PermissionError for who is neither root nor has CAP_SYS_NICE.
    """
    try:
        for process in processes:
            os.sched_setscheduler(process, os.SCHED_RR, os.sched_param(1))
        yield
    finally:
        for process in processes:
            os.sched_setscheduler(process, os.SCHED_OTHER, os.sched_param(0))


@contextlib.contextmanager
def on_core(core: int) -> Generator[None]:
    """Run the block, and the processes that it starts, on one core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
