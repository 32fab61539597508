"""The interleavings of an acquisition that matter most, each spelt out.

An acquisition sends three commands: it looks at the record, takes the lease, and fences.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from emulators.redis_server import RunningRedis
from shared.errors import ConflictError, FencedError, NotFoundError
from shared.store.keys import LEASES_EXPIRY, LEASES_HOLDERS
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from tests.integration.store.examples import RETENTION_S, a_stored_session, a_turn, an_owned_session
from tests.integration.store.gated_redis import GatedRedis, Operation


@pytest.fixture
async def gated(redis_client: Redis, redis_server: RunningRedis) -> AsyncIterator[Redis]:
    client = GatedRedis.from_url(redis_server.url, decode_responses=True)
    ownership = Ownership(client, lease_ttl_s=30)
    session_id, epoch = await an_owned_session(client)  # Redis knows the scripts now
    await ownership.renew("w1", {session_id: epoch})
    await ownership.release(session_id, epoch)
    await client.flushdb()
    yield client
    await client.aclose()


async def _begun(ownership: Ownership, session_id: str, worker: str, steps: int) -> Operation[int | None]:
    operation = Operation(ownership.acquire(session_id, worker))
    await operation.settle()
    for _ in range(steps):
        await operation.step()
    assert not operation.done
    return operation


async def _finished(operation: Operation[int | None]) -> int | None:
    while not operation.done:
        await operation.step()
    return await operation.task


async def test_a_worker_that_paused_between_lease_and_fence_does_not_unseat_its_successor(
    gated: Redis,
) -> None:
    ownership = Ownership(gated, lease_ttl_s=30)
    session_id = await a_stored_session(gated)
    slow = await _begun(ownership, session_id, "slow", 2)
    await gated.zadd(LEASES_EXPIRY, {session_id: 1}, xx=True)
    epoch = await ownership.acquire(session_id, "quick")
    assert epoch == 2, "1 was granted to the slow one"
    assert await _finished(slow) is None
    assert await ownership.commit(session_id, epoch, entries=[a_turn()])
    assert await ownership.renew("quick", {session_id: epoch}) == set()


async def test_two_that_were_granted_the_same_epoch_do_not_both_own(gated: Redis) -> None:
    """It takes the loss of the leases between the two."""
    ownership = Ownership(gated, lease_ttl_s=30)
    session_id = await a_stored_session(gated)
    first = await _begun(ownership, session_id, "w1", 2)
    await gated.delete(LEASES_EXPIRY, LEASES_HOLDERS)
    second = await _begun(ownership, session_id, "w2", 2)
    epochs = [await _finished(second), await _finished(first)]
    assert epochs == [1, None]
    assert (await SessionStore(gated, retention_s=RETENTION_S).get(session_id)).owner == "w2"
    assert await ownership.commit(session_id, 1, entries=[a_turn()])


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_session_that_ends_in_the_middle_gets_no_owner_and_keeps_no_lease(
    gated: Redis, steps: int
) -> None:
    ownership = Ownership(gated, lease_ttl_s=30)
    session_id = await a_stored_session(gated)
    acquisition = await _begun(ownership, session_id, "w1", steps)
    await SessionStore(gated, retention_s=RETENTION_S).mark_ended(session_id, "idle", 5)
    with pytest.raises(ConflictError, match="session_ended"):
        await _finished(acquisition)
    assert await gated.exists(LEASES_EXPIRY, LEASES_HOLDERS) == 0


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_session_that_is_erased_in_the_middle_does_not_come_back(gated: Redis, steps: int) -> None:
    ownership = Ownership(gated, lease_ttl_s=30)
    session_id = await a_stored_session(gated)
    acquisition = await _begun(ownership, session_id, "w1", steps)
    await SessionStore(gated, retention_s=RETENTION_S).erase(session_id)
    with pytest.raises(NotFoundError, match="session_not_found"):
        await _finished(acquisition)
    assert await gated.keys("*") == []


async def test_losing_the_leases_in_the_middle_of_a_takeover_costs_nobody_the_session(gated: Redis) -> None:
    """The old owner may put its lease back just before it is fenced; the new one gets it again."""
    ownership = Ownership(gated, lease_ttl_s=30)
    session_id = await a_stored_session(gated)
    old = await ownership.acquire(session_id, "old")
    assert old is not None
    await gated.zadd(LEASES_EXPIRY, {session_id: 1}, xx=True)
    takeover = await _begun(ownership, session_id, "new", 2)
    await gated.delete(LEASES_EXPIRY, LEASES_HOLDERS)
    assert await ownership.renew("old", {session_id: old}) == set()
    new = await _finished(takeover)
    assert new is not None
    assert await ownership.renew("new", {session_id: new}) == set()
    assert await ownership.renew("old", {session_id: old}) == {session_id}
    with pytest.raises(FencedError):
        await ownership.commit(session_id, old, entries=[a_turn()])
    assert await ownership.commit(session_id, new, entries=[a_turn()])


async def test_an_owner_does_not_put_back_a_lease_that_another_took_meanwhile(gated: Redis) -> None:
    ownership = Ownership(gated, lease_ttl_s=30)
    session_id = await a_stored_session(gated)
    old = await ownership.acquire(session_id, "old")
    assert old is not None
    await gated.delete(LEASES_EXPIRY, LEASES_HOLDERS)
    renewal = Operation(ownership.renew("old", {session_id: old}))
    await renewal.settle()
    await renewal.step()  # the lease is missing
    await renewal.step()  # the record still names the old owner
    new = await ownership.acquire(session_id, "new")
    assert new is not None
    while not renewal.done:
        await renewal.step()
    assert await renewal.task == {session_id}
    assert await gated.hget(LEASES_HOLDERS, session_id) == f"{new} new"


async def test_a_renewal_that_meets_a_release_does_not_bring_the_lease_back(gated: Redis) -> None:
    ownership = Ownership(gated, lease_ttl_s=30)
    session_id = await a_stored_session(gated)
    epoch = await ownership.acquire(session_id, "w1")
    assert epoch is not None
    release = Operation(ownership.release(session_id, epoch))
    await release.settle()
    await release.step()
    renewal = Operation(ownership.renew("w1", {session_id: epoch}))
    await renewal.settle()
    await release.step()
    assert release.done
    while not renewal.done:
        await renewal.step()
    assert await renewal.task == {session_id}
    assert await gated.exists(LEASES_EXPIRY, LEASES_HOLDERS) == 0
