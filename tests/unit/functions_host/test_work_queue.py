"""The work queue and the alarm: order, limits, waking."""

from __future__ import annotations

import asyncio
import time

import pytest

from emulators.functions_host.durable.alarm import Alarm
from emulators.functions_host.durable.work_queue import WorkQueue
from tests.support.eventually import eventually


async def test_a_key_never_overlaps_itself_and_the_limit_holds() -> None:
    running: list[str] = []
    most = 0
    runs: list[str] = []

    async def work(key: str) -> None:
        nonlocal most
        assert key not in running
        running.append(key)
        most = max(most, len(running))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.remove(key)
        runs.append(key)

    queue: WorkQueue[str] = WorkQueue(work, limit=2)
    for _ in range(3):
        for key in "abcd":
            queue.put(key)
    await eventually(lambda: len(runs) >= 4 and not running)
    assert most == 2
    assert set(runs) == set("abcd")
    await queue.close()


async def test_what_is_put_while_it_runs_runs_once_more() -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    runs = 0

    async def work(_key: str) -> None:
        nonlocal runs
        runs += 1
        entered.set()
        await go_on.wait()

    queue: WorkQueue[str] = WorkQueue(work, limit=1)
    queue.put("a")
    await entered.wait()
    for _ in range(5):
        queue.put("a")
    go_on.set()
    await eventually(lambda: runs == 2)
    await asyncio.sleep(0)
    assert runs == 2
    await queue.close()


async def test_work_that_raises_is_logged_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    async def work(key: str) -> None:
        if key == "bad":
            raise RuntimeError("broken")
        done.append(key)

    queue: WorkQueue[str] = WorkQueue(work, limit=1)
    queue.put("bad")
    queue.put("good")
    await eventually(lambda: done == ["good"])
    assert "durable work failed in the host" in caplog.text
    await queue.close()


async def test_closing_cancels_what_runs_and_takes_nothing_more() -> None:
    cancelled = asyncio.Event()
    entered = asyncio.Event()

    async def work(_key: str) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    queue: WorkQueue[str] = WorkQueue(work, limit=1)
    queue.put("a")
    await entered.wait()
    await queue.close()
    await queue.close()
    queue.put("b")
    assert cancelled.is_set()


async def test_the_alarm_rings_in_the_order_of_times() -> None:
    rung: list[str] = []
    alarm = Alarm(rung.append)
    now = time.time()
    for key, delay in (("c", 0.06), ("a", 0.02), ("b", 0.04), ("far", 9_999_999.0)):
        alarm.set(key, now + delay)
    alarm.set("past", now - 1)
    assert rung == ["past"], "what is due rings at once"
    await eventually(lambda: rung == ["past", "a", "b", "c"])
    assert time.time() >= now + 0.06
    alarm.close()


async def test_a_closed_alarm_is_silent() -> None:
    rung: list[str] = []
    alarm = Alarm(rung.append)
    alarm.set("a", time.time() + 0.01)
    alarm.close()
    alarm.close()
    await asyncio.sleep(0.03)
    assert rung == []
