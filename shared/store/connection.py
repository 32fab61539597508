"""The connection to Redis, and what a failing one means to the callers of the store."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Protocol, TypeVar

import redis.exceptions as failures
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from shared.errors import InvalidRequestError, UnavailableError
from shared.store.entra import EntraCredentials, wants_identity

T = TypeVar("T")

ANSWER_S = 2.5
"""The longest that one call of the store waits for Redis, retries included."""

SOCKET_TIMEOUT_S = 2.0
_MAX_CONNECTIONS = 64
_RETRIES = 3
_HEALTH_CHECK_S = 15

_UNREACHABLE = (
    failures.ConnectionError,  # refused, reset, loading, wrong credential
    failures.TimeoutError,
    TimeoutError,
    OSError,
)
# Refusals that pass: a failover or a resharding is under way, a disk is full. Redis before 7.0 puts
# them into the middle of a script's error, where the client does not recognise them.
_PASSING = re.compile(r"\b(READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|LOADING|NOREPLICAS|MISCONF|BUSY)\b")
_NO_MEMORY = re.compile(r"\bOOM command not allowed\b")


class RedisSettings(Protocol):
    """What `connect` needs of the settings."""

    @property
    def redis_url(self) -> str: ...


def connect(settings: RedisSettings, credentials: EntraCredentials | None = None) -> Redis:
    """Return a client of the Redis at `redis_url` (`redis://` or, with TLS, `rediss://`).

    An address of Azure's without a key in it is opened with this process's Azure identity; `credentials`
    do so anywhere.

    Nothing is sent yet. Close it with `aclose()`. A call finds a connection, or waits for
    one, in a pool of limited size; a failed command is repeated with backoff, which is
    harmless: the store's scripts recognise a repetition.

    Raises InvalidRequestError `invalid_redis_url` when the address cannot be one.
    """
    try:
        if credentials is None and wants_identity(settings.redis_url):
            credentials = EntraCredentials()
        pool = BlockingConnectionPool.from_url(
            settings.redis_url,
            credential_provider=credentials,
            max_connections=_MAX_CONNECTIONS,
            timeout=SOCKET_TIMEOUT_S,
            decode_responses=True,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            socket_keepalive=True,
            health_check_interval=_HEALTH_CHECK_S,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), _RETRIES),
        )
    except ValueError as error:
        raise InvalidRequestError(
            "invalid_redis_url",
            "REDIS_URL must look like redis://HOST:6379/0, or rediss://:KEY@HOST:10000/0 with TLS.",
        ) from error
    if credentials is not None:
        credentials.renew(pool)
    return Redis.from_pool(pool)


async def answered(call: Awaitable[T], *, within: float = ANSWER_S) -> T:
    """Await a Redis command and return its reply.

    Raises UnavailableError `redis_unavailable` when Redis does not answer within `within`
    seconds, and `redis_full` when it has no memory left.
    """
    return await heeding_cancellation(translated(_within(call, within)))


async def heeding_cancellation(call: Awaitable[T]) -> T:
    """Await a command of the client's; raise CancelledError if that was asked for meanwhile.

    On Python 3.11 the client can lose a cancellation that comes while it sends: its asyncio.wait_for
    returns the result instead (python/cpython#86296).
    """
    task = asyncio.current_task()
    cancellations = task.cancelling() if task else 0
    try:
        return await call
    finally:
        if task and task.cancelling() > cancellations:
            raise asyncio.CancelledError


async def _within(call: Awaitable[T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await call


async def translated(call: Awaitable[T]) -> T:
    """Await something that Redis is asked for and that has a limit of its own; raises as `answered` does."""
    try:
        return await call
    except failures.AuthenticationError as error:
        raise UnavailableError(
            "redis_unavailable",
            "Redis refuses the credential: check the user and key in REDIS_URL; without a key, that this "
            "process has an Azure identity (AZURE_CLIENT_ID names it) that is a user of the database.",
        ) from error
    except _UNREACHABLE as error:
        raise UnavailableError(
            "redis_unavailable",
            "Redis does not answer; check that it runs and that REDIS_URL names it. Try again.",
            retry_after_s=1.0,
        ) from error
    except failures.ResponseError as error:
        if _NO_MEMORY.search(str(error)) or isinstance(error, failures.OutOfMemoryError):
            raise UnavailableError(
                "redis_full", "Redis has no memory left for writes; give it more or shorten the retention."
            ) from error
        if _PASSING.search(str(error)) or isinstance(error, failures.ReadOnlyError):
            raise UnavailableError(
                "redis_unavailable", "Redis refuses writes for now; try again.", retry_after_s=1.0
            ) from error
        raise
