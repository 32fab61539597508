"""Which windows of the media benchmark count: those in which both cores were ours."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import pytest

from benchmarks.media_load.own_cores import OwnCores, Quiet, kept_awake
from benchmarks.worker_load.process_costs import cores, cpu_seconds

WINDOW_MS = 250
BEFORE = 4


class Told(OwnCores):
    """Cores of which is told beforehand what others have of them, in milliseconds a window."""

    def __init__(self, measured: Sequence[float], ends: Sequence[float]) -> None:
        super().__init__(measured=[], ends=[])
        sums = [(0.0, 0.0)]
        for first, second in zip(measured, ends, strict=True):
            sums.append((sums[-1][0] + first / 1000, sums[-1][1] + second / 1000))
        self.looks = iter(sums)

    def others_s(self) -> tuple[float, float]:
        return next(self.looks)


def seen(measured: Sequence[float], ends: Sequence[float] = ()) -> list[bool]:
    """Return what is said at the end of each window."""
    quiet = Quiet(
        cores=Told(measured, ends or [0.0] * len(measured)), window_s=WINDOW_MS / 1000, before=BEFORE
    )
    return [quiet.look() for _ in range(len(measured) + 1)][1:]


def test_a_window_is_quiet_when_others_had_next_to_nothing_in_it_and_in_the_second_before() -> None:
    assert seen([1, 1, 1, 1, 1, 1]) == [False, False, False, False, True, True]


@pytest.mark.parametrize("core", [0, 1], ids=["measured", "ends"])
def test_what_is_taken_from_either_core_spoils_its_window_and_the_next(core: int) -> None:
    taken = [0.0] * 4 + [3.0] + [0.0] * 3
    nothing = [0.0] * len(taken)
    lost = (taken, nothing) if core == 0 else (nothing, taken)
    assert seen(*lost)[4:] == [False, False, True, True]


def test_what_was_taken_at_length_spoils_a_second() -> None:
    assert seen([0, 0, 0, 0, 11, 0, 0, 0, 0, 0])[4:] == [False] * 5 + [True]


@pytest.mark.skipif(sys.platform != "linux", reason="SCHED_IDLE and process clocks are Linux's")
def test_a_core_kept_awake_is_ours_and_given_to_whoever_wants_it() -> None:
    core = cores()[-1]
    allowed = os.sched_getaffinity(0)
    with kept_awake(core) as spinner:
        until = time.monotonic() + 10
        while cpu_seconds(spinner) < 0.05:
            assert time.monotonic() < until, "nothing runs on the core"
            time.sleep(0.001)
        assert os.sched_getaffinity(spinner) == {core}
        assert os.sched_getscheduler(spinner) == os.SCHED_IDLE
        os.sched_setaffinity(0, {core})
        try:
            began, ours, theirs = time.perf_counter(), time.process_time(), cpu_seconds(spinner)
            while time.process_time() - ours < 0.2:
                pass
            took, had = time.perf_counter() - began, cpu_seconds(spinner) - theirs
        finally:
            os.sched_setaffinity(0, allowed)
    assert had < 0.1 * took, "who keeps the core awake took part of it"
    with pytest.raises(OSError, match="Invalid argument"):
        cpu_seconds(spinner)
