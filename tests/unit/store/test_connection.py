from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
import redis.exceptions as failures
from redis.asyncio import SSLConnection

from shared.errors import InvalidRequestError, UnavailableError
from shared.store.connection import answered, connect


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://localhost", "redis://h:port/0"])
def test_an_address_that_is_none_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid_redis_url") as caught:
        connect(SimpleNamespace(redis_url=url))
    assert "redis://HOST:6379/0" in caught.value.detail


async def test_tls_and_credentials_come_from_the_address_and_limits_are_set() -> None:
    client = connect(SimpleNamespace(redis_url="rediss://user:key@example.org:10000/0"))
    pool = client.connection_pool
    told = pool.connection_kwargs
    assert pool.connection_class is SSLConnection
    assert (told["host"], told["port"], told["username"], told["password"]) == (
        "example.org",
        10000,
        "user",
        "key",
    )
    assert told["decode_responses"] is True
    assert told["socket_timeout"] == told["socket_connect_timeout"] == 2.0
    await client.aclose()


@pytest.mark.parametrize(
    "failure",
    [
        failures.ConnectionError("refused"),
        failures.TimeoutError("slow"),
        failures.BusyLoadingError("loading"),
        failures.ReadOnlyError("You can't write against a read only replica."),
        failures.ClusterDownError("CLUSTERDOWN Hash slot not served"),
        failures.ResponseError("Error running script: @user_script: 7: -READONLY You can't write"),
        failures.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        failures.MaxConnectionsError("many"),
        ConnectionResetError("reset"),
        TimeoutError(),
    ],
)
async def test_failures_of_the_connection_become_one_error(failure: Exception) -> None:
    async def fails() -> None:
        raise failure

    with pytest.raises(UnavailableError, match="redis_unavailable") as caught:
        await answered(fails())
    assert caught.value.retryable
    assert caught.value.__cause__ is failure


async def test_an_answer_that_does_not_come_is_given_up_in_time() -> None:
    with pytest.raises(UnavailableError, match="redis_unavailable"):
        await answered(asyncio.Event().wait(), within=0.01)


@pytest.mark.parametrize(
    "failure",
    [
        failures.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        failures.ResponseError("Error running script: @user_script: 7: -OOM command not allowed when used"),
    ],
)
async def test_a_full_redis_is_named(failure: Exception) -> None:
    async def fails() -> None:
        raise failure

    with pytest.raises(UnavailableError, match="redis_full"):
        await answered(fails())


async def test_mistakes_of_ours_are_not_dressed_up_as_an_outage() -> None:
    async def fails() -> None:
        raise failures.ResponseError("WRONGTYPE")

    with pytest.raises(failures.ResponseError):
        await answered(fails())


async def test_a_cancellation_goes_through_even_when_the_call_swallows_it() -> None:
    begun = asyncio.Event()

    async def swallows() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done anyway"
        return ""

    task = asyncio.create_task(answered(swallows()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_call_after_an_earlier_cancellation_is_not_disturbed_by_it() -> None:
    """Clean-up code runs in a task that was cancelled, and it may use Redis."""
    cleaned = asyncio.Event()

    async def works() -> str:
        return "pong"

    async def task_with_clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            assert await answered(works()) == "pong"
            cleaned.set()

    task = asyncio.create_task(task_with_clean_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert cleaned.is_set()
