"""The queue of sessions that wait for a worker to attach to their call."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import cast

from redis.asyncio import Redis

from shared.session.jobs import AttachJob
from shared.store import scripts
from shared.store.connection import answered
from shared.store.keys import ATTACH_STREAM, ATTACH_WAITING, QUEUES_TTL_S
from shared.store.work_stream import GROUP, Job, WorkStream

_log = logging.getLogger("sidetone.store.attach_queue")


class AttachQueue:
    """Jobs of the stream `sessions:attach`. A job may be delivered more than once: the lease decides."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._jobs = WorkStream(redis, ATTACH_STREAM)

    async def enqueue(self, session_id: str, traceparent: str) -> str:
        """Ask for a worker and return the job's id: the one that waits, if the session already waits."""
        args = [session_id, traceparent, QUEUES_TTL_S]
        (job_id,) = await scripts.ENQUEUE_ATTACH.run(self._redis, [ATTACH_STREAM, ATTACH_WAITING], args)
        return job_id

    async def claim(self, worker: str, count: int, block_ms: int) -> list[AttachJob]:
        """Return up to `count` new jobs, waiting up to `block_ms` (0: not at all) for the first."""
        return _attach_jobs(await self._jobs.claim(worker, count, block_ms))

    async def reclaim(self, worker: str, min_idle_ms: int, count: int) -> list[AttachJob]:
        """Take over up to `count` jobs that were claimed at least `min_idle_ms` ago and are not done."""
        return _attach_jobs(await self._jobs.reclaim(worker, min_idle_ms, count))

    async def done(self, job: AttachJob) -> None:
        """Finish a job: it is delivered to nobody again, and the session may be enqueued anew."""
        args = [GROUP, job.job_id, job.session_id]
        await scripts.FINISH_JOB.run(self._redis, [ATTACH_STREAM, ATTACH_WAITING], args)

    async def waiting(self, session_ids: Sequence[str]) -> set[str]:
        """Return those of the sessions that have a job which is not done: no worker has attached yet."""
        if not session_ids:
            return set()
        told = await answered(self._redis.hmget(ATTACH_WAITING, list(session_ids)))
        return {one for one, job in zip(session_ids, cast("list[str | None]", told), strict=True) if job}

    async def depth(self) -> int:
        """Return how many jobs are not done (waiting or being worked on)."""
        return await self._jobs.depth()


def _attach_jobs(jobs: Iterable[Job]) -> list[AttachJob]:
    """Read jobs; one that another version wrote differently is left for a worker that knows it."""
    readable: list[AttachJob] = []
    for job_id, deliveries, fields in jobs:
        try:
            job = AttachJob(
                job_id=job_id,
                session_id=fields["session_id"],
                traceparent=fields["traceparent"],
                enqueued_at_ms=int(fields["enqueued_at_ms"]),
                deliveries=deliveries,
            )
        except (KeyError, ValueError):
            _log.error("an attach job does not decode", extra={"job_id": job_id})
            continue
        readable.append(job)
    return readable
