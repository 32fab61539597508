"""Deliveries of webhooks and of Event Grid: handled once, however often and wherever they arrive.

Senders deliver at least once. OpenAI and Azure OpenAI repeat a webhook, under the same
`webhook-id`, for up to 72 hours until it is answered with 2xx (OpenAI, "Webhooks"); Event Grid
repeats an event, with the same `id` and source, for up to 24 hours (Microsoft Learn, "Event Grid
message delivery and retry"). What was handled is remembered for four days, longer than both.

A delivery is claimed, handled, and done; later copies are answered at once. A copy that comes while
the first is under way is told to try later, so that the sender's retries stay alive in case that
the first handler dies: its claim then lapses, and the next retry is handled. So a handler may be
cut off anywhere and run again, and has to find out by itself what it has done before.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from redis.asyncio import Redis

from shared.errors import SidetoneError
from shared.store import scripts
from shared.store.keys import DELIVERIES_TTL_S, delivery_key
from shared.store.script import nonce

_log = logging.getLogger("sidetone.store.deliveries")

CLAIM_S = 20.0
"""How long a claim holds; a handler has to give up before that."""


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """Handle it, then call `done`, or `release` when that failed. `token` names this claim."""

    token: str


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """Somebody else handles it; their claim lapses in `retry_after_s` at the latest."""

    retry_after_s: float


@dataclass(frozen=True, kw_only=True)
class Done:
    """It was handled: answer with success, and do nothing."""


DeliveryState: TypeAlias = Claimed | UnderWay | Done


class Deliveries:
    """What was delivered, for all processes together.

    A delivery is named by its sender (`source`: a webhook's address of ours, an Event Grid topic) and
    the id that this sender gave it.
    """

    def __init__(self, redis: Redis, *, claim_s: float = CLAIM_S, keep_s: int = DELIVERIES_TTL_S) -> None:
        """claim_s: after how long a handler that said nothing counts as dead. keep_s: the memory."""
        self._redis = redis
        self._claim_ms = max(1, round(claim_s * 1000))
        self._keep_s = keep_s

    async def claim(self, source: str, delivery_id: str) -> DeliveryState:
        """Ask whether to handle this delivery."""
        token = nonce()
        key = delivery_key(source, delivery_id)
        status, *left_ms = await scripts.CLAIM_DELIVERY.run(self._redis, [key], [token, self._claim_ms])
        match status:
            case "claimed":
                return Claimed(token=token)
            case "done":
                return Done()
            case _:
                return UnderWay(retry_after_s=max(int(left_ms[0]), 1) / 1000)

    async def done(self, source: str, delivery_id: str, claim: Claimed) -> bool:
        """Remember the delivery as handled; return whether the claim held until now."""
        args = [claim.token, self._keep_s]
        (status,) = await scripts.FINISH_DELIVERY.run(self._redis, [delivery_key(source, delivery_id)], args)
        return status == "ok"

    async def release(self, source: str, delivery_id: str, claim: Claimed) -> None:
        """Let the next copy be handled at once; without effect on a claim of somebody else."""
        key = delivery_key(source, delivery_id)
        await scripts.RELEASE_DELIVERY.run(self._redis, [key], [claim.token])

    @asynccontextmanager
    async def handling(self, source: str, delivery_id: str) -> AsyncGenerator[bool]:
        """Handle a delivery in the block, which is given True; False means that it was handled before.

        The delivery is done when the block ends, and free for the next copy when it fails. Raises
        SidetoneError `delivery_under_way`, a retryable conflict, while somebody else handles it.
        """
        match await self.claim(source, delivery_id):
            case Done():
                yield False
            case UnderWay(retry_after_s=left_s):
                raise SidetoneError(
                    "delivery_under_way",
                    "This delivery is being handled: send it again if no other answer comes.",
                    status=HTTPStatus.CONFLICT,
                    retryable=True,
                    retry_after_s=left_s,
                )
            case Claimed() as claim:
                try:
                    yield True
                except BaseException:
                    await self._release_quietly(source, delivery_id, claim)
                    raise
                if not await self.done(source, delivery_id, claim):
                    _log.warning("a delivery took longer than its claim held", extra={"source": source})

    async def _release_quietly(self, source: str, delivery_id: str, claim: Claimed) -> None:
        """Release on the way out of a failure, which is what the sender must hear about."""
        try:
            await self.release(source, delivery_id, claim)
        except SidetoneError as error:  # then it lapses
            _log.warning("a delivery was not released", extra={"source": source, "code": error.code})
