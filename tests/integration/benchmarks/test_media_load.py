"""`make bench-media`, made small: the real worker beside a bridge, and one that cannot run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.media_load.__main__ import OURS, as_json, as_markdown
from benchmarks.media_load.measuring import Plan, measure
from benchmarks.media_load.subjects import Bridge, Worker
from benchmarks.worker_load.process_costs import cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is measured is told by Linux only")


async def test_calls_pass_the_worker_and_a_bridge_and_their_costs_are_told(tmp_path: Path) -> None:
    plan = Plan(calls=2, many=(3,), turn_s=0.5, quiet=1, patience_s=0, interruptions=1)
    core = cores()[0]
    ours, naive, unknown = figures = await measure(
        {
            OURS: lambda exchange: Worker(exchange, tmp_path / "ours", core),
            "naive": lambda exchange: Bridge(exchange, "naive", tmp_path, core),
            "unknown": lambda exchange: Bridge(exchange, "unknown", tmp_path, core),
        },
        plan,
        ours=OURS,
        floor="naive",
        core=core,
        tell=lambda _: None,
    )
    assert (ours.failed, naive.failed) == ("", "")
    assert "unknown did not start" in unknown.failed
    for load in (ours.load, naive.load, *ours.many, *naive.many):
        assert load.cpu_ms > 0
        assert load.latency_ms(50) > 0
    assert [load.calls for load in (*ours.many, *naive.many)] == [3, 3]
    assert len(ours.stops_ms) == plan.calls, "each interruption was answered by StopAudio"
    table = "\n".join(as_markdown(figures))
    assert f"| {OURS} | 3 |" in table
    assert "StopAudio, 2 times" in table
    told = json.loads(json.dumps(as_json(figures)))
    assert [subject["name"] for subject in told] == [OURS, "naive", "unknown"]
