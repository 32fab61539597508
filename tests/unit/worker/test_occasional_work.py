"""Work that has a task only while there is some."""

from __future__ import annotations

import asyncio
import contextvars

from realtime_worker.occasional_work import OccasionalWork

_session: contextvars.ContextVar[str] = contextvars.ContextVar("session", default="")


class _Kitchen:
    """What it does, it does when `gate` opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = 0
        self.done = 0
        self.seen = ""
        self.fails: Exception | None = None
        self.told: list[Exception] = []
        _session.set("ses_1")
        self.work = OccasionalWork(self._work, self.told.append, contextvars.copy_context())
        _session.set("")

    async def _work(self) -> None:
        self.begun += 1
        self.seen = _session.get()
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        self.done += 1


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_comes_up_meanwhile_is_done_once_more_and_not_at_the_same_time() -> None:
    kitchen = _Kitchen()
    kitchen.work.wake()
    await _settle()
    kitchen.work.wake()
    kitchen.work.wake()
    await _settle()
    assert (kitchen.begun, kitchen.done) == (1, 0)
    kitchen.gate.set()
    await _settle()
    assert (kitchen.begun, kitchen.done) == (2, 2)


async def test_it_runs_in_its_own_context_whoever_wakes_it() -> None:
    kitchen = _Kitchen()
    kitchen.gate.set()
    kitchen.work.wake()
    await _settle()
    assert (_session.get(), kitchen.seen) == ("", "ses_1")


async def test_a_failure_is_told_and_the_next_wake_tries_again() -> None:
    kitchen = _Kitchen()
    kitchen.gate.set()
    kitchen.fails = ValueError("broken")
    kitchen.work.wake()
    await _settle()
    assert kitchen.told == [kitchen.fails]
    kitchen.fails = None
    kitchen.work.wake()
    await _settle()
    assert kitchen.done == 1


async def test_closed_it_breaks_off_and_begins_no_more() -> None:
    kitchen = _Kitchen()
    kitchen.work.wake()
    await _settle()
    await kitchen.work.close()
    kitchen.gate.set()
    kitchen.work.wake()
    await kitchen.work.close()
    await _settle()
    assert (kitchen.begun, kitchen.done, kitchen.told) == (1, 0, [])
