"""A session is never left without a worker, and its job never without an end."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from realtime_worker.roster import Roster
from shared.errors import NotFoundError, UnavailableError
from shared.session.jobs import AttachJob, LifecycleEvent
from shared.session.log import ErrorRecorded, ToolCalled
from shared.session.model import SessionState
from shared.store.attach_queue import AttachQueue
from shared.store.ownership import Ownership
from tests.integration.worker.in_process import InProcess
from tests.support.eventually import eventually
from tests.support.scripted_provider import ScriptedProvider, ScriptedSocket


class GatedQueue(AttachQueue):
    """Queueing waits at a gate, before and after it is done."""

    def __init__(self, redis: redis.asyncio.Redis) -> None:
        super().__init__(redis)
        self.before = asyncio.Event()
        self.after = asyncio.Event()
        self.before.set()
        self.after.set()
        self.arrived = asyncio.Event()

    async def enqueue(self, session_id: str, traceparent: str) -> str:
        self.arrived.set()
        await self.before.wait()
        job_id = await super().enqueue(session_id, traceparent)
        await self.after.wait()
        return job_id


class SlowOwnership(Ownership):
    """Reading what an earlier owner left takes as long as the test wants."""

    def __init__(self, redis: redis.asyncio.Redis) -> None:
        super().__init__(redis, lease_ttl_s=5)
        self.reading = asyncio.Event()
        self.read = asyncio.Event()

    async def unanswered_tools(self, session_id: str) -> list[ToolCalled]:
        self.reading.set()
        await self.read.wait()
        return await super().unanswered_tools(session_id)


class BreakingSocket(ScriptedSocket):
    """Breaks its reader by a fault that is none of the provider's."""

    async def send(self, event: object) -> None:
        raise ZeroDivisionError


@pytest.fixture
def parts(redis_client: redis.asyncio.Redis) -> InProcess:
    return InProcess(redis_client, ScriptedProvider())


async def held(parts: InProcess, roster: Roster) -> tuple[str, AttachJob]:
    """Let `roster` hold a new session."""
    session_id = await parts.connecting_session()
    job = await parts.job(session_id)
    roster.take(job)
    await parts.wait_state(session_id, SessionState.ACTIVE)
    return session_id, job


async def waiting_sessions(parts: InProcess) -> list[str]:
    """Return the sessions that another worker could claim now."""
    return [job.session_id for job in await parts.services.attach_queue.claim("worker-2", 10, 0)]


async def queue_is_empty(parts: InProcess) -> None:
    async def empty() -> bool:
        return await parts.services.attach_queue.depth() == 0

    await eventually(empty, within=5, what="no job is left")


async def test_a_session_that_is_being_given_back_is_not_taken_for_one_that_is_held(
    redis_client: redis.asyncio.Redis, parts: InProcess
) -> None:
    queue = GatedQueue(redis_client)
    parts = InProcess(redis_client, parts.provider, attach_queue=queue)
    roster = Roster(parts.services)
    sockets = iter([BreakingSocket(), ScriptedSocket()])
    parts.provider.connect = lambda: next(sockets)
    session_id = await parts.connecting_session()
    job = await parts.job(session_id)
    queue.arrived.clear()
    queue.after.clear()
    roster.take(job)
    await queue.arrived.wait()

    async def queued_again() -> list[AttachJob]:
        return await queue.claim("worker-1", 1, 0)

    (again,) = await eventually(queued_again, what="the broken session waits for a worker")
    roster.take(again)  # our own claim was faster than the answer to our queueing
    queue.after.set()
    await parts.wait_state(session_id, SessionState.ACTIVE)
    await queue_is_empty(parts)
    await roster.hand_back()


async def test_a_renewal_that_comes_late_does_not_cut_a_hand_back_off(
    redis_client: redis.asyncio.Redis, parts: InProcess
) -> None:
    queue = GatedQueue(redis_client)
    parts = InProcess(redis_client, parts.provider, attach_queue=queue)
    roster = Roster(parts.services)
    session_id, _ = await held(parts, roster)
    renewed = dict(roster.held)
    queue.arrived.clear()
    queue.before.clear()
    stopping = asyncio.create_task(roster.hand_back())
    await queue.arrived.wait()
    for lost in await parts.services.ownership.renew("worker-1", renewed):
        roster.drop(lost, renewed[lost])
    queue.before.set()
    await stopping
    assert await waiting_sessions(parts) == [session_id]


async def test_stopping_while_a_lease_is_taken_queues_the_session_again(
    redis_client: redis.asyncio.Redis,
) -> None:
    acquiring = asyncio.Event()

    class SlowOwnership(Ownership):
        async def acquire(self, session_id: str, worker: str) -> int | None:
            acquiring.set()
            await asyncio.Event().wait()
            return None

    parts = InProcess(redis_client, ScriptedProvider(), ownership=SlowOwnership(redis_client, lease_ttl_s=5))
    roster = Roster(parts.services)
    session_id = await parts.connecting_session()
    roster.take(await parts.job(session_id))
    await acquiring.wait()
    await roster.hand_back()
    assert await waiting_sessions(parts) == [session_id]


async def test_a_hand_back_that_gets_no_further_than_the_lease_leaves_it_to_the_sweep(
    redis_client: redis.asyncio.Redis,
) -> None:
    class FailingQueue(AttachQueue):
        failing = False

        async def enqueue(self, session_id: str, traceparent: str) -> str:
            if self.failing:
                raise UnavailableError("redis_unavailable", "Redis went away in between.")
            return await super().enqueue(session_id, traceparent)

    queue = FailingQueue(redis_client)
    parts = InProcess(redis_client, ScriptedProvider(), attach_queue=queue)
    roster = Roster(parts.services)
    session_id, _ = await held(parts, roster)
    queue.failing = True
    await roster.hand_back()
    assert await parts.services.ownership.lapsed(10) == [session_id]


async def test_a_job_of_a_session_that_never_attached_is_finished(parts: InProcess) -> None:
    def unknown() -> ScriptedSocket:
        raise NotFoundError("provider_rejected", "No.")

    parts.provider.connect = unknown
    roster = Roster(parts.services)
    session_id = await parts.connecting_session()
    roster.take(await parts.job(session_id))
    await parts.wait_state(session_id, SessionState.ENDED)
    await queue_is_empty(parts)


async def test_a_session_that_can_not_be_run_is_ended_and_the_control_plane_told(parts: InProcess) -> None:
    roster = Roster(parts.services)
    session_id = await parts.connecting_session(agent="nobody")
    roster.take(await parts.job(session_id))
    await parts.wait_state(session_id, SessionState.ENDED)
    ended = await told_ended(parts, session_id)
    assert ended.reason == "internal_error"
    assert [e.code for e in await parts.entries(session_id) if isinstance(e, ErrorRecorded)]


async def test_a_session_that_always_breaks_is_ended_and_not_tried_for_ever(parts: InProcess) -> None:
    parts.provider.connect = BreakingSocket
    roster = Roster(parts.services)
    session_id = await parts.connecting_session()
    await parts.services.attach_queue.enqueue(session_id, "")

    async def claimed_until_ended() -> bool:
        for job in await parts.services.attach_queue.claim("worker-1", 10, 0):
            roster.take(job)
        return await parts.state(session_id) is SessionState.ENDED

    await eventually(claimed_until_ended, within=10, what="the session has ended")
    await told_ended(parts, session_id)
    assert len(parts.provider.attempts_at) == 4


async def test_an_end_whose_worker_died_before_telling_is_told_by_the_next(parts: InProcess) -> None:
    session_id = await parts.connecting_session()
    epoch = await parts.services.ownership.acquire(session_id, "worker-0")
    assert epoch is not None
    await parts.services.ownership.commit(session_id, epoch, state=SessionState.ENDED, reason="agent_ended")
    roster = Roster(parts.services)
    roster.take_over(session_id)  # its lease lapsed, and a sweep found it
    ended = await told_ended(parts, session_id)
    assert ended.reason == "agent_ended"


async def test_jobs_that_are_declined_take_no_room(parts: InProcess) -> None:
    roster = Roster(parts.services)
    session_id, _ = await held(parts, roster)
    await queue_is_empty(parts)
    roster.take(await parts.job(session_id))
    assert len(roster) == 1
    await queue_is_empty(parts)
    assert await parts.state(session_id) is SessionState.ACTIVE
    assert len(parts.provider.sockets) == 1
    await roster.hand_back()


async def told_ended(parts: InProcess, session_id: str) -> LifecycleEvent:
    async def told() -> list[LifecycleEvent]:
        claimed = await parts.services.outbox.claim("worker-1", 10, 0)
        events = [entry.message for entry in claimed if isinstance(entry.message, LifecycleEvent)]
        return [event for event in events if event.event == "ended" and event.session_id == session_id]

    (event,) = await eventually(told, within=5, what="the end was told")
    return event


async def test_a_lease_is_kept_and_can_be_lost_while_its_session_is_being_prepared(
    redis_client: redis.asyncio.Redis,
) -> None:
    ownership = SlowOwnership(redis_client)
    parts = InProcess(redis_client, ScriptedProvider(), ownership=ownership)
    roster = Roster(parts.services)
    session_id = await parts.connecting_session()
    roster.take(await parts.job(session_id))
    await ownership.reading.wait()
    assert roster.held == {session_id: 1}
    roster.drop(session_id, 1)
    await eventually(lambda: len(roster) == 0, what="the roster has let go of it")
    assert roster.held == {}
    assert parts.provider.sockets == []
