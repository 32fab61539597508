"""Messages to the control plane that must not get lost: stored first, delivered by any worker."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

from redis.asyncio import Redis

from shared.errors import SidetoneError
from shared.session.codec import CONTROL
from shared.session.jobs import ControlMessage, OutboxEntry
from shared.store import scripts
from shared.store.keys import OUTBOX_SEEN_TTL_S, OUTBOX_STREAM, QUEUES_TTL_S, outbox_seen_key
from shared.store.script import nonce
from shared.store.work_stream import GROUP, Job, WorkStream

_log = logging.getLogger("sidetone.store.outbox")


class Outbox:
    """Messages of the stream `control:outbox`. Each may be delivered more than once."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._jobs = WorkStream(redis, OUTBOX_STREAM)

    async def put(self, message: ControlMessage, dedupe: str = "", traceparent: str = "") -> str:
        """Store a message and return its id, or "" when `dedupe` was put before (within a day).

        traceparent: the W3C trace context of the message, where it has none itself.
        """
        if traceparent and not message.traceparent:
            message = dataclasses.replace(message, traceparent=traceparent)
        mark = nonce()
        args = [mark, CONTROL.encode(message).decode(), QUEUES_TTL_S, OUTBOX_SEEN_TTL_S]
        seen = outbox_seen_key(dedupe or mark)
        (entry_id,) = await scripts.PUT_MESSAGE.run(self._redis, [OUTBOX_STREAM, seen], args)
        return entry_id

    async def claim(self, worker: str, count: int, block_ms: int) -> list[OutboxEntry]:
        """Return up to `count` new messages, waiting up to `block_ms` (0: not at all) for the first."""
        return _outbox_entries(await self._jobs.claim(worker, count, block_ms))

    async def reclaim(self, worker: str, min_idle_ms: int, count: int) -> list[OutboxEntry]:
        """Take over up to `count` messages that were claimed at least `min_idle_ms` ago and are not done."""
        return _outbox_entries(await self._jobs.reclaim(worker, min_idle_ms, count))

    async def done(self, entry: OutboxEntry) -> None:
        """Finish a message: it is delivered to nobody again."""
        await scripts.FINISH_JOB.run(self._redis, [OUTBOX_STREAM], [GROUP, entry.entry_id, ""])

    async def depth(self) -> int:
        """Return how many messages are not done."""
        return await self._jobs.depth()


def _outbox_entries(jobs: Iterable[Job]) -> list[OutboxEntry]:
    """Decode jobs; one of a newer version is left unfinished for a worker that knows it."""
    entries: list[OutboxEntry] = []
    for job_id, deliveries, fields in jobs:
        try:
            message = CONTROL.decode(fields["message"])
        except SidetoneError as error:
            _log.error("a message does not decode", extra={"entry_id": job_id, "code": error.code})
            continue
        entries.append(OutboxEntry(entry_id=job_id, message=message, deliveries=deliveries))
    return entries
