"""How many sessions are held anywhere, as the scaler is told: nothing that lives is left out."""

from __future__ import annotations

from redis.asyncio import Redis

from shared.session.model import SessionState
from shared.store.keys import LEASES_EXPIRY
from shared.store.ownership import Ownership
from tests.integration.store.examples import a_move, a_stored_session


async def test_sessions_count_from_their_first_lease_until_they_end(redis_client: Redis) -> None:
    ownership = Ownership(redis_client, lease_ttl_s=30)
    assert await ownership.count() == 0
    first, second = [await a_stored_session(redis_client) for _ in range(2)]
    epoch = await ownership.acquire(first, "w1")
    assert epoch is not None
    await ownership.acquire(second, "w2")
    assert await ownership.count() == 2
    move = a_move(SessionState.ENDED)
    await ownership.commit(first, epoch, entries=[move], state=SessionState.ENDED, reason="caller_hung_up")
    await ownership.release(first, epoch)
    assert await ownership.count() == 1


async def test_a_dead_workers_sessions_are_still_wanted(redis_client: Redis) -> None:
    ownership = Ownership(redis_client, lease_ttl_s=30)
    session_id = await a_stored_session(redis_client)
    await ownership.acquire(session_id, "w1")
    await redis_client.zadd(LEASES_EXPIRY, {session_id: 1}, xx=True)  # its lease lapsed: nobody renews it
    assert await ownership.lapsed(10) == [session_id]
    assert await ownership.count() == 1
