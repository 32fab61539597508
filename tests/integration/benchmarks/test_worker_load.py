"""`make bench-worker`, made small: the service, the floor and the real worker, without the peers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.machine import this_machine
from benchmarks.worker_load.__main__ import subjects
from benchmarks.worker_load.measuring import Plan, measure
from benchmarks.worker_load.process_costs import cores
from benchmarks.worker_load.subjects import Client, ClientProgram
from benchmarks.worker_load.telling import FLOOR, OURS, as_json, as_markdown

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is measured is told by Linux only")


def silent(_: str) -> None:
    """Tell nobody about the progress."""


async def test_the_worker_and_the_floor_have_the_same_turns_and_their_costs_are_told(tmp_path: Path) -> None:
    plan = Plan(busy_calls=4, rounds=2, window_s=0.2, memory_at=(6,), paced={})
    makers = subjects(tmp_path, core=cores()[0], names=(FLOOR, OURS))
    floor, ours = figures = await measure(makers, plan, silent)
    assert (floor.failed, ours.failed) == ("", "")
    assert ours.doubled == 0
    assert len(ours.cpu_ms_a_turn) == len(floor.cpu_ms_a_turn) == 2
    assert min(floor.cpu_ms, ours.cpu_ms) > 0
    assert list(ours.kib_a_session) == [6]
    table = as_markdown(figures, plan, this_machine(), "", "make bench-worker")
    assert f"| {OURS} |" in table
    assert "x floor" in table
    told = json.loads(json.dumps(as_json(figures, plan, this_machine(), "", "make bench-worker")))
    assert [subject["name"] for subject in told["subjects"]] == [FLOOR, OURS]


async def test_paced_calls_give_round_trips(tmp_path: Path) -> None:
    plan = Plan(busy_calls=1, rounds=1, window_s=0.1, memory_at=(2,), paced={2: 3.0}, lead_s=0.5)
    (floor,) = await measure(subjects(tmp_path, core=cores()[0], names=(FLOOR,)), plan, silent)
    assert floor.failed == ""
    seen = floor.paced[2]
    assert 0 < seen.percentile(50) < 1000
    assert (seen.late, floor.doubled) == (0, 0)


async def test_a_client_that_cannot_run_is_told_as_failed_beside_the_others(tmp_path: Path) -> None:
    broken = ClientProgram(
        name="broken", command=(sys.executable, "-c", "raise ImportError('no peer')"), directory=tmp_path
    )
    missing = ClientProgram(name="missing", command=("/no/such/python",), directory=tmp_path)
    plan = Plan(busy_calls=1, rounds=1, window_s=0.1, memory_at=(2,), paced={2: 0.1})
    makers = {
        program.name: lambda service, program=program: Client(service, program, tmp_path, cores()[0])
        for program in (broken, missing)
    }
    first, second = figures = await measure(makers, plan, silent)
    assert "ImportError: no peer" in first.failed
    assert "make bench-worker" in second.failed
    table = as_markdown(figures, plan, this_machine(), "", "make bench-worker")
    assert "| broken (failed: broken did not start: ImportError: no peer) | - |" in table
