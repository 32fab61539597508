"""The standing work of a worker: claim, renew, sweep, listen, report."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from realtime_worker.commits import until_redis_answers
from realtime_worker.roster import Roster
from realtime_worker.services import Services
from shared.errors import UnavailableError
from shared.store.inbox import WakeUps
from shared.store.ownership import WANTED
from shared.store.workers import WorkerRegistry
from shared.telemetry.logs import get_logger

CLAIM_BLOCK_MS = 1_000
CLAIM_BATCH = 10
FULL_PAUSE_S = 0.25
# An attach job claimed by a worker that died before it attached is taken over after this long.
ABANDONED_JOB_MS = 15_000
SWEEP_BATCH = 100
SWEEP_EVERY_S = 1.0
REPORT_EVERY_S = 2.0
# How long a report counts: a worker that misses several in a row is taken for dead.
REPORTED_FOR_S = 10.0
RENEW_AGAIN_S = 0.2
# After a fault that nobody foresaw; long enough not to spin, short enough for leases to survive it.
BROKEN_PAUSE_S = 0.5

_log = get_logger(__name__)


async def keep_going(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do standing work until cancelled, beginning anew when it breaks: the calls need it to go on."""
    while True:
        try:
            await work()
            _log.error("standing work ended", extra={"work": name})
        except Exception:
            _log.exception("standing work broke", extra={"work": name})
        await asyncio.sleep(BROKEN_PAUSE_S)


async def claim_forever(services: Services, roster: Roster) -> None:
    """Take attach jobs while there is room; leave them to other workers while there is not."""
    worker = services.settings.worker_id
    while True:
        room = roster.room
        if room <= 0:
            await asyncio.sleep(FULL_PAUSE_S)
            continue
        count = min(room, CLAIM_BATCH)
        for job in await until_redis_answers(
            lambda count=count: services.attach_queue.claim(worker, count, CLAIM_BLOCK_MS)
        ):
            roster.take(job)


async def renew_forever(services: Services, roster: Roster) -> None:
    """Keep the leases of what we hold, in few commands; let go of what is no longer ours."""
    settings = services.settings
    pause = settings.lease_renew_s
    while True:
        await asyncio.sleep(pause)
        pause = settings.lease_renew_s
        held = roster.held
        if not held:
            continue
        try:
            lost = await services.ownership.renew(settings.worker_id, held)
        except UnavailableError as error:
            _log.warning("leases not renewed", extra={"code": error.code, "sessions": len(held)})
            # Waiting for the failure has taken its time already; a whole pause more, and they lapse.
            pause = min(RENEW_AGAIN_S, pause)
            continue
        for session_id in lost:
            _log.warning("lease lost", extra={"lost_session": session_id})
            roster.drop(session_id, held[session_id])


async def sweep_forever(services: Services, roster: Roster) -> None:
    """Take over sessions whose owner is gone, and jobs that nobody finished."""
    settings = services.settings
    while True:
        await asyncio.sleep(min(settings.lease_ttl_s / 2, SWEEP_EVERY_S))
        try:
            # Taken directly, not queued: the dead owner may still hold the session's job in the queue.
            # With no room here the lease stays lapsed, for a worker that has some.
            for session_id in await services.ownership.lapsed(min(roster.room, SWEEP_BATCH)):
                _log.warning("lease lapsed", extra={"lapsed_session": session_id})
                roster.take_over(session_id)
            room = roster.room
            if room > 0:
                for job in await services.attach_queue.reclaim(
                    settings.worker_id, ABANDONED_JOB_MS, min(room, CLAIM_BATCH)
                ):
                    roster.take(job)
        except UnavailableError as error:
            _log.warning("sweep waits for the store", extra={"code": error.code})


async def listen_forever(subscribe: Callable[[], WakeUps], roster: Roster) -> None:
    """Pass wake-ups on to the sessions they are for."""
    async with subscribe() as woken:
        roster.wake("")  # what came before we listened
        async for told in woken:
            session_id = told.removeprefix(WANTED)
            if told == session_id:
                roster.wake(session_id)
            else:
                roster.give_way(session_id)


async def report_forever(services: Services, registry: WorkerRegistry, roster: Roster) -> None:
    """Tell the registry how many sessions we hold and could hold."""
    settings = services.settings
    while True:
        try:
            await registry.beat(settings.worker_id, len(roster), settings.max_sessions, ttl_s=REPORTED_FOR_S)
        except UnavailableError as error:
            _log.warning("worker not reported", extra={"code": error.code})
        await asyncio.sleep(REPORT_EVERY_S)
