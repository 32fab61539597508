"""A queue on a Redis stream with one consumer group: each job goes to one worker, until it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeAlias, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.store import scripts
from shared.store.connection import answered
from shared.store.keys import QUEUES_TTL_S

GROUP = "workers"

_BLOCK_MS = 1_000  # one blocking read; shorter than the socket's timeout, so that silence is no failure

Job: TypeAlias = tuple[str, int, dict[str, str]]
"""Stream id, deliveries so far, fields."""


class WorkStream:
    """Claims, reclaims and finishes the jobs of one stream. Adding them is the queue's own affair."""

    def __init__(self, redis: Redis, stream: str, *, consumer_gone_ms: int = 3_600_000) -> None:
        """consumer_gone_ms: how long a consumer must have asked for nothing to be forgotten."""
        self._redis = redis
        self._stream = stream
        self._consumer_gone_ms = consumer_gone_ms

    async def claim(self, worker: str, count: int, block_ms: int) -> list[Job]:
        """Return up to `count` new jobs, waiting up to `block_ms` (0: not at all) for the first."""
        deadline = time.monotonic() + block_ms / 1000
        while True:
            remaining = round((deadline - time.monotonic()) * 1000)
            jobs = await answered(self._read(worker, count, min(remaining, _BLOCK_MS)))
            if jobs or remaining <= _BLOCK_MS:
                return jobs

    async def reclaim(self, worker: str, min_idle_ms: int, count: int) -> list[Job]:
        """Take over up to `count` jobs that were claimed at least `min_idle_ms` ago and are not done."""
        args = [GROUP, worker, min_idle_ms, count, self._consumer_gone_ms]
        replies = cast(
            "list[list[object]]", await scripts.RECLAIM_JOBS.run(self._redis, [self._stream], args)
        )
        jobs: list[Job] = []
        for job_id, deliveries, flat in replies:
            texts = cast("list[str]", flat)
            fields = dict(zip(texts[::2], texts[1::2], strict=True))
            jobs.append((cast("str", job_id), int(cast("str", deliveries)), fields))
        return jobs

    async def depth(self) -> int:
        """Return how many jobs are not done (waiting or being worked on)."""
        return await answered(self._redis.xlen(self._stream))

    async def _read(self, worker: str, count: int, block_ms: int) -> list[Job]:
        try:
            reply = await self._read_group(worker, count, block_ms)
        except ResponseError as error:
            # UNBLOCKED: the stream expired or was deleted while we waited on it.
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            await self._create_group()
            reply = await self._read_group(worker, count, block_ms)
        return [(job_id, 1, fields) for job_id, fields in _entries(reply)]

    async def _read_group(self, worker: str, count: int, block_ms: int) -> object:
        block = block_ms if block_ms > 0 else None
        return await self._redis.xreadgroup(GROUP, worker, {self._stream: ">"}, count=count, block=block)

    async def _create_group(self) -> None:
        """Create the group (anew) at the stream's beginning, so that nothing that waits is skipped."""
        try:
            await self._redis.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        await self._redis.expire(self._stream, QUEUES_TTL_S)


def _entries(reply: object) -> list[tuple[str, dict[str, str]]]:
    """Return the entries of an XREADGROUP reply on one stream; pairs in RESP 2, a mapping in RESP 3."""
    if not reply:
        return []
    if isinstance(reply, Mapping):
        batches = cast("list[list[list[object]]]", list(cast("Mapping[str, object]", reply).values()))
        return cast("list[tuple[str, dict[str, str]]]", batches[0][0])
    return cast("list[tuple[str, list[tuple[str, dict[str, str]]]]]", reply)[0][1]
