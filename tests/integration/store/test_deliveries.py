"""Deliveries are handled once: by racing processes, with handlers that die anywhere, over a lossy network."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from redis.asyncio import Redis

from emulators.redis_server import RunningRedis
from shared.errors import SidetoneError
from shared.store.connection import connect
from shared.store.deliveries import Claimed, Deliveries, Done, UnderWay
from shared.store.keys import DAY_S, delivery_key
from tests.integration.store.lossy_proxy import LossyProxy
from tests.integration.store.racing_deliveries import LEDGER, SOURCE
from tests.support.eventually import eventually

REPOSITORY = Path(__file__).resolve().parents[3]
COUNT = 60
WEBHOOK = "webhooks/realtime"


def receiver(redis: RunningRedis, what: str, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.integration.store.racing_deliveries"]
    return subprocess.Popen(
        [*command, redis.url, what, name, str(COUNT)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


async def claimed(deliveries: Deliveries, source: str = WEBHOOK, delivery_id: str = "wh_1") -> Claimed:
    state = await deliveries.claim(source, delivery_id)
    assert isinstance(state, Claimed), state
    return state


@pytest.fixture
def deliveries(redis_client: Redis) -> Deliveries:
    return Deliveries(redis_client)


async def test_processes_that_race_handle_each_delivery_once(
    redis_client: Redis, redis_server: RunningRedis
) -> None:
    receivers = [receiver(redis_server, "race", f"r{n}") for n in range(3)]
    for running in receivers:
        output, _ = await asyncio.to_thread(running.communicate, timeout=60)
        assert running.returncode == 0, output
    ledger = await redis_client.hgetall(LEDGER)  # type: ignore[misc]  # redis's own typing
    assert ledger == {str(n): "1" for n in range(COUNT)}


async def test_what_a_killed_process_held_is_handled_after_its_claim_lapsed(
    redis_client: Redis, redis_server: RunningRedis
) -> None:
    victim = receiver(redis_server, "hang", "victim")
    assert victim.stdout is not None
    assert await asyncio.to_thread(victim.stdout.readline) == "claimed\n"
    victim.kill()
    await asyncio.to_thread(victim.wait)
    deliveries = Deliveries(redis_client)
    waits_s: list[float] = []

    async def handled() -> bool:
        try:
            async with deliveries.handling(SOURCE, "0") as first:
                return first
        except SidetoneError as error:
            waits_s.append(error.retry_after_s or 0)
            return False

    await eventually(handled, within=5)
    assert all(0 < wait_s <= 1 for wait_s in waits_s), waits_s


async def test_a_copy_waits_while_the_first_is_handled_and_is_nothing_after_it(
    deliveries: Deliveries,
) -> None:
    claim = await claimed(deliveries)
    copy = await deliveries.claim(WEBHOOK, "wh_1")
    assert isinstance(copy, UnderWay)
    assert 15 < copy.retry_after_s <= 20
    assert await deliveries.done(WEBHOOK, "wh_1", claim) is True
    assert isinstance(await deliveries.claim(WEBHOOK, "wh_1"), Done)
    async with deliveries.handling(WEBHOOK, "wh_1") as first:
        assert first is False


async def test_a_failure_leaves_the_next_copy_to_be_handled(deliveries: Deliveries) -> None:
    with pytest.raises(RuntimeError, match="no"):
        async with deliveries.handling(WEBHOOK, "wh_1"):
            raise RuntimeError("no")
    async with deliveries.handling(WEBHOOK, "wh_1") as first:
        assert first is True
    async with deliveries.handling(WEBHOOK, "wh_1") as again:
        assert again is False


async def test_a_handler_that_is_cancelled_lets_go(deliveries: Deliveries) -> None:
    begun = asyncio.Event()

    async def handle() -> None:
        async with deliveries.handling(WEBHOOK, "wh_1"):
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(handle())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await claimed(deliveries)


async def test_what_was_handled_is_remembered_longer_than_senders_retry(
    deliveries: Deliveries, redis_client: Redis
) -> None:
    await deliveries.done(WEBHOOK, "wh_1", await claimed(deliveries))
    kept_s = await redis_client.ttl(delivery_key(WEBHOOK, "wh_1"))
    assert 3 * DAY_S < kept_s <= 4 * DAY_S


@pytest.mark.parametrize(
    ("source", "delivery_id"),
    [(WEBHOOK, "wh_2"), (SOURCE, "wh_1"), ("webhooks", "/realtime:wh_1"), (WEBHOOK + ":wh", "_1"), ("", "")],
)
async def test_a_delivery_is_its_source_and_its_id(
    deliveries: Deliveries, source: str, delivery_id: str
) -> None:
    """Two topics of Event Grid may use one id, and so may a webhook."""
    await deliveries.done(WEBHOOK, "wh_1", await claimed(deliveries))
    await claimed(deliveries, source, delivery_id)


async def test_a_late_handler_neither_frees_nor_hides_what_its_successor_does(
    redis_client: Redis,
) -> None:
    deliveries = Deliveries(redis_client, claim_s=0.05)
    late = await claimed(deliveries)

    async def lapsed() -> Claimed | None:
        state = await Deliveries(redis_client).claim(WEBHOOK, "wh_1")
        return state if isinstance(state, Claimed) else None

    successor = await eventually(lapsed)
    assert successor is not None
    await deliveries.release(WEBHOOK, "wh_1", late)
    assert isinstance(await deliveries.claim(WEBHOOK, "wh_1"), UnderWay), "the successor still holds it"
    assert await deliveries.done(WEBHOOK, "wh_1", late) is False, "it learns that its claim had lapsed"
    await deliveries.release(WEBHOOK, "wh_1", successor)
    assert isinstance(await deliveries.claim(WEBHOOK, "wh_1"), Done), "but what it did is done"


async def test_answers_that_the_network_loses_change_nothing(
    redis_client: Redis, redis_server: RunningRedis
) -> None:
    async with LossyProxy(redis_server.port) as proxy:
        client = connect(SimpleNamespace(redis_url=proxy.url))
        deliveries = Deliveries(client)
        await deliveries.done(WEBHOOK, "taught", await claimed(deliveries, delivery_id="taught"))
        proxy.lose_after = 0
        claim = await claimed(deliveries)
        proxy.lose_after = 0
        assert await deliveries.done(WEBHOOK, "wh_1", claim) is True
        assert isinstance(await deliveries.claim(WEBHOOK, "wh_1"), Done)
        assert proxy.lost == 2
        await client.aclose()


# Crashes at every step


@dataclass
class Story:
    """What handlers did to one delivery, and what must hold of it whatever the order."""

    deliveries: Deliveries
    redis: Redis
    holders: list[Claimed] = field(default_factory=list[Claimed])
    holding: Claimed | None = None  # whose claim has not lapsed
    handled: int = 0
    under_claim: int = 0  # how often it was finished by the holder of the claim

    async def deliver(self) -> None:
        state = await self.deliveries.claim(SOURCE, "evt")
        match state:
            case Claimed():
                assert not self.handled, "handled before, and handled again"
                assert self.holding is None, "two hold it at a time"
                self.holders.append(state)
                self.holding = state
            case UnderWay():
                assert self.holding is not None, "nobody holds it, and yet nobody may have it"
            case Done():
                assert self.handled, "it counts as done, and nobody did it"

    async def finish(self) -> None:
        claim = self.holders.pop()
        held = await self.deliveries.done(SOURCE, "evt", claim)
        assert held is (self.holding == claim)
        self.handled += 1
        self.under_claim += held
        self.holding = None

    async def fail(self) -> None:
        claim = self.holders.pop()
        await self.deliveries.release(SOURCE, "evt", claim)
        if self.holding == claim:
            self.holding = None

    async def die(self) -> None:
        """It says nothing any more; what it held stays held until it lapses."""
        self.holders.pop()

    async def wake_the_oldest(self) -> None:
        """Another order: the one that has been at it longest goes on first."""
        self.holders.reverse()

    async def lapse(self) -> None:
        if self.holding is not None:
            await self.redis.pexpire(delivery_key(SOURCE, "evt"), 0)
            self.holding = None


ACTS = ("deliver", "deliver", "deliver", "lapse", "finish", "fail", "die", "wake_the_oldest")


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=st.lists(st.sampled_from(ACTS), min_size=1, max_size=25))
def test_whatever_dies_whenever_it_is_done_once_under_a_claim_and_never_stuck(
    redis_server: RunningRedis, acts: list[str]
) -> None:
    asyncio.run(_play(redis_server.url, acts))


async def _play(url: str, acts: list[str]) -> None:
    redis = connect(SimpleNamespace(redis_url=url))
    try:
        await redis.delete(delivery_key(SOURCE, "evt"))
        story = Story(Deliveries(redis), redis)
        for act in acts:
            if act in ("finish", "fail", "die") and not story.holders:
                continue
            step: Coroutine[object, object, None] = getattr(story, act)()
            await step
            assert story.under_claim <= 1
        # However it went: a sender that goes on has it handled once the last claim lapsed.
        await story.lapse()
        await story.deliver()
        if not story.handled:
            await story.finish()
        assert isinstance(await story.deliveries.claim(SOURCE, "evt"), Done)
    finally:
        await redis.aclose()
