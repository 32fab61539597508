"""What a worker does to a session, as far as the control plane can see it."""

from __future__ import annotations

import time

from redis.asyncio import Redis

from shared.session.log import Attached, LogEntry, StateChanged
from shared.session.model import SessionState
from shared.store.ownership import Ownership


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def attach(redis: Redis, session_id: str, *entries: LogEntry) -> int:
    """Own the session, make it active, log `entries`; return the epoch."""
    ownership = Ownership(redis, lease_ttl_s=60)
    epoch = await ownership.acquire(session_id, "worker-1")
    assert epoch is not None
    at_ms = now_ms()
    await ownership.commit(
        session_id,
        epoch,
        state=SessionState.ACTIVE,
        entries=[
            Attached(worker="worker-1", epoch=epoch, call_id="rtc_1", took_ms=1.0, at_ms=at_ms),
            StateChanged(state="active", at_ms=at_ms),
            *entries,
        ],
    )
    return epoch


async def end(redis: Redis, session_id: str, epoch: int, reason: str) -> None:
    """End the session as its owner."""
    await Ownership(redis, lease_ttl_s=60).commit(
        session_id,
        epoch,
        state=SessionState.ENDED,
        reason=reason,
        entries=[StateChanged(state="ended", reason=reason, at_ms=now_ms())],
    )
