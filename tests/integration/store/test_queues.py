from __future__ import annotations

import asyncio
import dataclasses
import time

import pytest
from redis.asyncio import Redis

from shared.session.jobs import AttachJob, LifecycleEvent, StartDurableTool
from shared.store.attach_queue import AttachQueue
from shared.store.keys import ATTACH_STREAM, ATTACH_WAITING, OUTBOX_STREAM
from shared.store.outbox import Outbox
from shared.store.work_stream import GROUP, WorkStream
from tests.support.eventually import eventually

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
START = StartDurableTool(
    session_id="ses_1", tool_call_id="c1", tool="book", arguments='{"when":"Mon"}', traceparent=TRACE
)
ENDED = LifecycleEvent(session_id="ses_1", event="ended", reason="idle")


@pytest.fixture
def queue(redis_client: Redis) -> AttachQueue:
    return AttachQueue(redis_client)


@pytest.fixture
def outbox(redis_client: Redis) -> Outbox:
    return Outbox(redis_client)


async def test_a_job_goes_to_one_worker_and_is_gone_when_done(queue: AttachQueue) -> None:
    before = time.time_ns() // 1_000_000
    job_id = await queue.enqueue("ses_1", TRACE)
    claims = await asyncio.gather(*(queue.claim(f"w{n}", 5, 0) for n in range(5)))
    (job,) = [job for jobs in claims for job in jobs]
    assert (job.job_id, job.session_id, job.traceparent, job.deliveries) == (job_id, "ses_1", TRACE, 1)
    assert 0 <= job.enqueued_at_ms - before < 60_000
    assert await queue.depth() == 1
    await queue.done(job)
    assert await queue.depth() == 0
    assert await queue.reclaim("w9", 0, 5) == []


async def test_a_session_that_waits_or_is_being_attached_is_not_enqueued_again(queue: AttachQueue) -> None:
    first = await queue.enqueue("ses_1", "")
    assert await queue.enqueue("ses_1", "") == first
    other = await queue.enqueue("ses_2", "")
    assert other != first
    jobs = await queue.claim("w1", 5, 0)
    assert [job.job_id for job in jobs] == [first, other]
    assert await queue.enqueue("ses_1", "") == first
    await queue.done(jobs[0])
    again = await queue.enqueue("ses_1", "")
    assert again not in (first, other)
    assert await queue.depth() == 2


async def test_finishing_an_old_job_does_not_touch_the_one_that_waits(
    queue: AttachQueue, redis_client: Redis
) -> None:
    await queue.enqueue("ses_1", "")
    (old,) = await queue.claim("w1", 1, 0)
    await queue.done(old)
    newer = await queue.enqueue("ses_1", "")
    await queue.done(old)
    assert await queue.enqueue("ses_1", "") == newer
    assert await redis_client.hgetall(ATTACH_WAITING) == {"ses_1": newer}


async def test_a_job_lost_from_the_stream_does_not_block_its_session(
    queue: AttachQueue, redis_client: Redis
) -> None:
    first = await queue.enqueue("ses_1", "")
    await redis_client.xtrim(ATTACH_STREAM, maxlen=0, approximate=False)
    second = await queue.enqueue("ses_1", "")
    assert second != first
    assert [job.job_id for job in await queue.claim("w1", 5, 0)] == [second]


async def test_a_claim_waits_for_a_job_in_several_reads(queue: AttachQueue, redis_client: Redis) -> None:
    await queue.claim("w1", 5, 0)
    await redis_client.config_resetstat()
    claim = asyncio.create_task(queue.claim("w1", 5, 20_000))

    async def has_read_again() -> bool:
        stats = await redis_client.info("commandstats")
        return stats.get("cmdstat_xreadgroup", {"calls": 0})["calls"] >= 1

    await eventually(has_read_again)  # Redis counts a blocking read when it returns
    assert not claim.done()
    await queue.enqueue("ses_1", "")
    assert [job.session_id for job in await asyncio.wait_for(claim, 5)] == ["ses_1"]


async def test_a_claim_returns_empty_handed_in_time(queue: AttachQueue) -> None:
    assert await queue.claim("w1", 5, 30) == []


async def test_claims_can_be_cancelled_at_any_moment(queue: AttachQueue) -> None:
    """On Python 3.11 the Redis client loses a cancellation that comes while it sends."""
    await asyncio.gather(*(queue.claim(f"w{n}", 5, 0) for n in range(12)))  # there are connections
    claims: list[asyncio.Task[list[AttachJob]]] = []
    for steps in range(12):
        claims.append(asyncio.create_task(queue.claim(f"w{steps}", 5, 30_000)))
        for _ in range(steps):
            await asyncio.sleep(0)
        claims[-1].cancel()
    await asyncio.wait(claims, timeout=10)
    assert [claim.done() and claim.cancelled() for claim in claims] == [True] * 12
    await queue.enqueue("ses_1", "")
    assert len(await queue.claim("w1", 5, 0)) == 1


async def test_jobs_of_a_dead_worker_are_taken_over_and_deliveries_counted(queue: AttachQueue) -> None:
    for n in range(5):
        await queue.enqueue(f"ses_{n}", "")
    assert len(await queue.claim("dead", 5, 0)) == 5
    assert await queue.reclaim("w1", 60_000, 10) == []
    taken = await queue.reclaim("w1", 0, 3)
    assert [(job.session_id, job.deliveries) for job in taken] == [("ses_0", 2), ("ses_1", 2), ("ses_2", 2)]
    assert [job.deliveries for job in await queue.reclaim("w2", 0, 10)] == [3, 3, 3, 2, 2]
    for job in taken:
        await queue.done(job)
    assert await queue.depth() == 2


async def test_of_two_that_reclaim_at_once_one_gets_each_job(queue: AttachQueue) -> None:
    for n in range(20):
        await queue.enqueue(f"ses_{n}", "")
    await queue.claim("dead", 20, 0)
    await asyncio.sleep(0.03)
    both = await asyncio.gather(queue.reclaim("w1", 25, 20), queue.reclaim("w2", 25, 20))
    assert sorted(job.session_id for jobs in both for job in jobs) == sorted(f"ses_{n}" for n in range(20))


async def test_a_claimed_job_that_was_trimmed_away_is_dropped_from_the_pending_list(
    queue: AttachQueue, redis_client: Redis
) -> None:
    await queue.enqueue("ses_1", "")
    await queue.enqueue("ses_2", "")
    jobs = await queue.claim("dead", 5, 0)
    await redis_client.xdel(ATTACH_STREAM, jobs[0].job_id)
    assert [job.session_id for job in await queue.reclaim("w1", 0, 5)] == ["ses_2"]
    assert (await redis_client.xpending(ATTACH_STREAM, GROUP))["pending"] == 1


async def test_the_queue_heals_when_redis_has_lost_it(queue: AttachQueue, redis_client: Redis) -> None:
    assert await queue.reclaim("w1", 0, 5) == []
    await queue.enqueue("ses_1", "")
    await queue.claim("w1", 1, 0)
    await redis_client.flushall()
    assert await queue.reclaim("w1", 0, 5) == []
    await queue.enqueue("ses_2", "")
    assert [job.session_id for job in await queue.claim("w1", 1, 0)] == ["ses_2"]


async def test_consumers_that_are_gone_are_forgotten_unless_they_hold_jobs(
    queue: AttachQueue, redis_client: Redis
) -> None:
    async def consumers() -> set[str]:
        return {c["name"] for c in await redis_client.xinfo_consumers(ATTACH_STREAM, GROUP)}

    for n in range(3):
        await queue.enqueue(f"ses_{n}", "")
    (held,) = await queue.claim("holds", 1, 0)
    for _ in range(2):
        (job,) = await queue.claim("finished", 1, 0)
        await queue.done(job)
    assert await queue.reclaim("w1", 60_000, 5) == []
    assert await consumers() == {"holds", "finished"}
    impatient = WorkStream(redis_client, ATTACH_STREAM, consumer_gone_ms=0)

    async def only_one_is_left() -> bool:
        assert await impatient.reclaim("w1", 60_000, 5) == []
        return await consumers() == {"holds"}

    await eventually(only_one_is_left)
    assert [job.job_id for job in await queue.reclaim("w1", 0, 5)] == [held.job_id]


async def test_messages_come_out_of_the_outbox_as_they_went_in(outbox: Outbox) -> None:
    await outbox.put(START)
    await outbox.put(ENDED, traceparent=TRACE)
    entries = await outbox.claim("w1", 5, 0)
    assert [entry.message for entry in entries] == [START, dataclasses.replace(ENDED, traceparent=TRACE)]
    assert await outbox.depth() == 2
    for entry in entries:
        await outbox.done(entry)
    assert await outbox.depth() == 0


async def test_a_message_with_a_known_dedupe_key_is_put_once(outbox: Outbox) -> None:
    ids = await asyncio.gather(*(outbox.put(START, "ses_1:c1") for _ in range(6)))
    assert sum(1 for i in ids if i) == 1
    (entry,) = await outbox.claim("w1", 5, 0)
    await outbox.done(entry)
    assert await outbox.put(START, "ses_1:c1") == ""
    assert await outbox.put(START, "ses_1:c2")
    assert await outbox.put(START)
    assert await outbox.put(START)


async def test_an_undelivered_message_is_taken_over(outbox: Outbox) -> None:
    await outbox.put(START)
    await outbox.claim("dead", 1, 0)
    (entry,) = await outbox.reclaim("w1", 0, 5)
    assert (entry.message, entry.deliveries) == (START, 2)


async def test_a_message_of_another_version_waits_for_a_worker_that_knows_it(
    outbox: Outbox, redis_client: Redis
) -> None:
    await redis_client.xadd(OUTBOX_STREAM, {"message": '{"type":"start_robot"}'})
    await outbox.put(START)
    assert [entry.message for entry in await outbox.claim("old", 5, 0)] == [START]
    assert await outbox.depth() == 2
    assert (await redis_client.xpending(OUTBOX_STREAM, GROUP))["pending"] == 2


async def test_many_workers_empty_a_queue_together_without_doubles(queue: AttachQueue) -> None:
    wanted = {f"ses_{n}" for n in range(60)}
    done: list[AttachJob] = []

    async def work(worker: str) -> None:
        while jobs := await queue.claim(worker, 7, 20):
            for job in jobs:
                await queue.done(job)
                done.append(job)

    await asyncio.gather(*(queue.enqueue(session_id, "") for session_id in wanted))
    await asyncio.gather(*(work(f"w{n}") for n in range(6)))
    assert sorted(job.session_id for job in done) == sorted(wanted)
    assert await queue.depth() == 0
