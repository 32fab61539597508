"""How often, and how many at a time, a principal may do what costs money."""

from __future__ import annotations

import math

from redis.asyncio import Redis

from shared.errors import TooManyRequestsError
from shared.store import scripts
from shared.store.keys import live_key, rate_key


class Limits:
    """Limits per principal, counted in Redis for all processes together."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def check_rate(self, principal: str, action: str, per_minute: int) -> None:
        """Count one request. A principal may save up to a minute's worth of them.

        Raises TooManyRequestsError `rate_limited`; a refused request does not count.
        """
        if per_minute < 1:
            raise ValueError("per_minute must be at least 1")
        (wait_ms,) = await scripts.CHECK_RATE.run(self._redis, [rate_key(principal, action)], [per_minute])
        if wait_ms != "0":
            wait_s = max(1, math.ceil(int(wait_ms) / 1000))
            raise TooManyRequestsError(
                "rate_limited",
                f"More than {per_minute} requests a minute; try again in {wait_s} s.",
                retry_after_s=wait_s,
            )

    async def reserve_live(self, principal: str, session_id: str, maximum: int, ttl_s: float) -> None:
        """Reserve a place among the principal's live sessions; renew it if the session has one.

        A place that is never given back frees itself after `ttl_s`.
        Raises TooManyRequestsError `too_many_live_sessions`.
        """
        args = [session_id, maximum, max(1, round(ttl_s * 1000))]
        (wait_ms,) = await scripts.RESERVE_LIVE.run(self._redis, [live_key(principal)], args)
        if wait_ms != "0":
            raise TooManyRequestsError(
                "too_many_live_sessions",
                f"{maximum} sessions are live already; end one, or wait until one ends.",
                retry_after_s=min(30, math.ceil(int(wait_ms) / 1000)),
            )

    async def release_live(self, principal: str, session_id: str) -> None:
        """Give the session's place back; harmless when it has none."""
        await scripts.RELEASE_LIVE.run(self._redis, [live_key(principal)], [session_id])
