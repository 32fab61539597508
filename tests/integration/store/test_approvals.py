"""Approvals in Redis: decided once whoever is faster, expired by Redis's clock, listed in order."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from shared.errors import ConflictError, GoneError, InvalidRequestError, NotFoundError, SidetoneError
from shared.ids import approval_id_of, parse_approval_id
from shared.session.approvals import ApprovalRecord
from shared.session.log import ApprovalState
from shared.store.approvals import Approvals
from shared.store.keys import APPROVALS_PENDING, approval_key

SESSION = "ses_" + "0" * 26


def request(call: str) -> ApprovalRecord:
    return ApprovalRecord(
        approval_id=approval_id_of(SESSION, call),
        session_id=SESSION,
        tool_call_id=call,
        agent="desk",
        tool="refund",
        question=f"Refund for {call}?",
        arguments="{}",
        requested_at_ms=0,
        expires_at_ms=0,
    )


@pytest.fixture
def approvals(redis_client: Redis) -> Approvals:
    return Approvals(redis_client, retention_s=600)


async def test_it_is_asked_for_once_and_keeps_its_times(approvals: Approvals, redis_client: Redis) -> None:
    first = await approvals.ask(request("c1"), 60)
    assert first.state is ApprovalState.PENDING
    assert first.expires_at_ms - first.requested_at_ms == 60_000
    assert await approvals.ask(request("c1"), 9_999) == first
    assert 600 < await redis_client.ttl(approval_key(first.approval_id)) <= 660
    assert await redis_client.ttl(APPROVALS_PENDING) > 0


async def test_of_all_who_decide_at_once_one_does(approvals: Approvals) -> None:
    asked = await approvals.ask(request("c1"), 60)
    ways = [approvals.decide(asked.approval_id, approve=n % 2 == 0, by=f"p{n}", comment="") for n in range(8)]
    done = await asyncio.gather(*ways, return_exceptions=True)
    decided = [one for one in done if isinstance(one, ApprovalRecord)]
    refused = [one for one in done if isinstance(one, ConflictError)]
    assert (len(decided), len(refused)) == (1, 7)
    assert await approvals.get(asked.approval_id) == decided[0]
    assert (await approvals.pending(10)).approvals == ()


@pytest.mark.parametrize(("withdraw", "state"), [(False, "expired"), (True, "withdrawn")])
async def test_what_is_over_cannot_be_decided(
    approvals: Approvals, redis_client: Redis, withdraw: bool, state: str
) -> None:
    asked = await approvals.ask(request("c1"), 60)
    if not withdraw:
        await redis_client.hset(approval_key(asked.approval_id), "expires_at_ms", "1")
    settled = await approvals.settle(asked.approval_id, withdraw=withdraw)
    assert settled is not None
    assert settled.state == state
    with pytest.raises(GoneError) as caught:
        await approvals.decide(asked.approval_id, approve=True, by="p", comment="")
    assert caught.value.code == f"approval_{state}"


async def test_a_decision_stands_whatever_comes_later(approvals: Approvals, redis_client: Redis) -> None:
    asked = await approvals.ask(request("c1"), 60)
    await approvals.decide(asked.approval_id, approve=False, by="p", comment="No.")
    await redis_client.hset(approval_key(asked.approval_id), "expires_at_ms", "1")
    for withdraw in (True, False):
        settled = await approvals.settle(asked.approval_id, withdraw=withdraw)
        assert settled is not None
        assert (settled.state, settled.comment) == (ApprovalState.REJECTED, "No.")


async def test_pages_are_whole_and_leave_out_what_is_over(approvals: Approvals, redis_client: Redis) -> None:
    asked = [await approvals.ask(request(f"c{n}"), 60) for n in range(7)]
    await redis_client.hset(approval_key(asked[2].approval_id), "expires_at_ms", "1")
    await redis_client.delete(approval_key(asked[4].approval_id))
    found: list[str] = []
    cursor = ""
    while True:
        page = await approvals.pending(2, cursor)
        found += [one.approval_id for one in page.approvals]
        if not page.next_cursor:
            break
        cursor = page.next_cursor
    assert sorted(found) == sorted(asked[n].approval_id for n in (0, 1, 3, 5, 6))
    with pytest.raises(InvalidRequestError):
        await approvals.pending(2, "nonsense")


async def test_what_is_erased_is_gone(approvals: Approvals) -> None:
    asked = await approvals.ask(request("c1"), 60)
    await approvals.erase([asked.approval_id, approval_id_of(SESSION, "never")])
    assert await approvals.settle(asked.approval_id, withdraw=False) is None
    assert (await approvals.pending(10)).approvals == ()
    with pytest.raises(NotFoundError):
        await approvals.get(asked.approval_id)


def test_an_approvals_id_is_its_calls() -> None:
    one = approval_id_of(SESSION, "c1")
    assert parse_approval_id(one) == one == approval_id_of(SESSION, "c1")
    assert one != approval_id_of(SESSION, "c2")
    with pytest.raises(SidetoneError):
        parse_approval_id("apr_../..")
