from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from shared.errors import TooManyRequestsError
from shared.store.keys import live_key, rate_key
from shared.store.limits import Limits
from tests.support.eventually import eventually


@pytest.fixture
def limits(redis_client: Redis) -> Limits:
    return Limits(redis_client)


async def _allowed(limits: Limits, principal: str, action: str, per_minute: int) -> bool:
    try:
        await limits.check_rate(principal, action, per_minute)
    except TooManyRequestsError:
        return False
    return True


async def test_a_minutes_worth_is_allowed_at_once_and_no_more(limits: Limits) -> None:
    outcomes = await asyncio.gather(*(_allowed(limits, "p", "token", 30) for _ in range(40)))
    assert sum(outcomes) == 30


async def test_a_refusal_tells_when_to_try_again_and_does_not_count(
    limits: Limits, redis_client: Redis
) -> None:
    assert await _allowed(limits, "p", "token", 1)
    for _ in range(5):
        with pytest.raises(TooManyRequestsError, match="rate_limited") as caught:
            await limits.check_rate("p", "token", 1)
    wait_s = caught.value.retry_after_s
    assert wait_s is not None
    assert 55 <= wait_s <= 60
    assert await redis_client.pttl(rate_key("p", "token")) <= 60_000


async def test_what_was_used_comes_back_with_time(limits: Limits) -> None:
    per_minute = 600  # one every 100 ms
    for _ in range(10 * per_minute):
        if not await _allowed(limits, "p", "token", per_minute):
            break
    else:
        pytest.fail("the limit never came")
    await eventually(lambda: _allowed(limits, "p", "token", per_minute), within=5)


async def test_principals_and_actions_are_counted_apart(limits: Limits) -> None:
    assert await _allowed(limits, "p", "token", 1)
    assert not await _allowed(limits, "p", "token", 1)
    assert await _allowed(limits, "q", "token", 1)
    assert await _allowed(limits, "p", "sessions", 1)
    with pytest.raises(ValueError, match="per_minute"):
        await limits.check_rate("p", "token", 0)


async def test_a_principal_holds_no_more_live_sessions_than_allowed(limits: Limits) -> None:
    async def reserve(n: int) -> bool:
        try:
            await limits.reserve_live("p", f"ses_{n}", 3, 60)
        except TooManyRequestsError:
            return False
        return True

    assert sum(await asyncio.gather(*(reserve(n) for n in range(12)))) == 3


async def test_a_session_renews_its_own_place_and_a_released_one_is_free(limits: Limits) -> None:
    await limits.reserve_live("p", "ses_1", 1, 60)
    await limits.reserve_live("p", "ses_1", 1, 60)
    with pytest.raises(TooManyRequestsError, match="too_many_live_sessions") as caught:
        await limits.reserve_live("p", "ses_2", 1, 60)
    assert caught.value.retry_after_s == 30
    await limits.release_live("p", "ses_1")
    await limits.release_live("p", "ses_1")
    await limits.reserve_live("p", "ses_2", 1, 60)
    await limits.reserve_live("q", "ses_3", 1, 60)


async def test_a_place_that_is_never_given_back_frees_itself(limits: Limits, redis_client: Redis) -> None:
    await limits.reserve_live("p", "ses_1", 2, 3600)
    await limits.reserve_live("p", "ses_2", 2, 0.02)

    async def fits() -> bool:
        try:
            await limits.reserve_live("p", "ses_3", 2, 30)
        except TooManyRequestsError:
            return False
        return True

    await eventually(fits)
    assert 3500 < await redis_client.ttl(live_key("p")) <= 3600


async def test_a_maximum_of_none_refuses(limits: Limits) -> None:
    with pytest.raises(TooManyRequestsError, match="too_many_live_sessions"):
        await limits.reserve_live("p", "ses_1", 0, 10)
