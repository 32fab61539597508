"""Which workers are there, and how busy they are."""

from __future__ import annotations

from dataclasses import dataclass

from redis.asyncio import Redis

from shared.store import scripts
from shared.store.keys import WORKERS_BEATS, WORKERS_LOADS, WORKERS_TTL_S

_KEYS = (WORKERS_BEATS, WORKERS_LOADS)


@dataclass(frozen=True, kw_only=True)
class WorkerInfo:
    """A worker that lives: sessions it holds, and how many it can hold."""

    worker: str
    live: int
    capacity: int


class WorkerRegistry:
    """Workers that have told lately that they live."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def beat(self, worker: str, live: int, capacity: int, ttl_s: float) -> None:
        """Tell that `worker` lives, for the next `ttl_s` seconds."""
        args = [worker, f"{live} {capacity}", max(1, round(ttl_s * 1000)), WORKERS_TTL_S]
        await scripts.BEAT.run(self._redis, _KEYS, args)

    async def leave(self, worker: str) -> None:
        """Tell that `worker` has stopped."""
        await scripts.LEAVE.run(self._redis, _KEYS, [worker])

    async def snapshot(self) -> list[WorkerInfo]:
        """Return the workers that live, by name."""
        told = await scripts.SNAPSHOT.run(self._redis, _KEYS, [])
        found: list[WorkerInfo] = []
        for worker, load in zip(told[::2], told[1::2], strict=True):
            live, _, capacity = load.partition(" ")
            found.append(WorkerInfo(worker=worker, live=int(live), capacity=int(capacity)))
        return sorted(found, key=lambda info: info.worker)
