from __future__ import annotations

from redis.asyncio import Redis

from shared.store.keys import WORKERS_BEATS, WORKERS_LOADS
from shared.store.workers import WorkerInfo, WorkerRegistry
from tests.support.eventually import eventually


async def test_workers_are_listed_with_their_latest_load_until_they_leave(redis_client: Redis) -> None:
    registry = WorkerRegistry(redis_client)
    assert await registry.snapshot() == []
    await registry.beat("w2", 0, 10, 60)
    await registry.beat("w1", 3, 100, 60)
    await registry.beat("w2", 4, 10, 60)
    assert await registry.snapshot() == [
        WorkerInfo(worker="w1", live=3, capacity=100),
        WorkerInfo(worker="w2", live=4, capacity=10),
    ]
    await registry.leave("w1")
    await registry.leave("w1")
    assert [info.worker for info in await registry.snapshot()] == ["w2"]


async def test_a_worker_that_falls_silent_disappears(redis_client: Redis) -> None:
    registry = WorkerRegistry(redis_client)
    await registry.beat("silent", 1, 10, 0.01)
    await registry.beat("alive", 1, 10, 60)

    async def names() -> bool:
        return [info.worker for info in await registry.snapshot()] == ["alive"]

    await eventually(names)
    assert await redis_client.zcard(WORKERS_BEATS) == await redis_client.hlen(WORKERS_LOADS) == 1
