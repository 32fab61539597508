from __future__ import annotations

import asyncio

import pytest

from realtime_worker.wake import Wake


async def test_what_is_set_before_or_after_lets_the_waiter_go_on_until_it_is_cleared() -> None:
    wake = Wake(is_set=True)
    await wake.wait()
    await wake.wait()
    wake.clear()
    waiter = asyncio.create_task(wake.wait())
    await asyncio.sleep(0)
    assert not waiter.done()
    wake.set()
    wake.set()
    await waiter


async def test_a_waiter_that_was_cancelled_leaves_the_place_to_the_next_and_two_are_a_fault() -> None:
    wake = Wake()
    first = asyncio.create_task(wake.wait())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="two tasks"):
        await wake.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(wake.wait())
    await asyncio.sleep(0)
    wake.set()
    await second
