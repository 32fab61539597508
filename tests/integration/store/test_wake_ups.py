from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis.asyncio
from redis.asyncio import Redis

from emulators.redis_server import start_redis
from shared.errors import UnavailableError
from shared.session.commands import Say
from shared.store.connection import connect
from shared.store.inbox import Inbox, WakeUps
from shared.store.keys import wake_channel
from tests.integration.store.examples import a_stored_session, an_owned_session
from tests.support.eventually import eventually
from tests.support.ports import free_port


async def _next(wake_ups: WakeUps) -> str:
    return await asyncio.wait_for(anext(wake_ups), 10)


async def test_a_command_wakes_its_owner_and_nobody_else(redis_client: Redis) -> None:
    inbox = Inbox(redis_client)
    mine, _ = await an_owned_session(redis_client, "w1")
    theirs, _ = await an_owned_session(redis_client, "w2")
    nobodys = await a_stored_session(redis_client)
    async with WakeUps(redis_client, "w1") as wake_ups:
        for session_id in (nobodys, theirs, mine):
            await inbox.put(session_id, Say(text="hi"))
        assert await _next(wake_ups) == mine


async def test_hints_for_one_session_that_nobody_took_yet_are_one(redis_client: Redis) -> None:
    inbox = Inbox(redis_client)
    first, _ = await an_owned_session(redis_client, "w1")
    second, _ = await an_owned_session(redis_client, "w1")
    async with WakeUps(redis_client, "w1") as wake_ups:
        for _ in range(20):
            await inbox.put(first, Say(text="hi"))
        await inbox.put(second, Say(text="hi"))
        assert {await _next(wake_ups), await _next(wake_ups)} == {first, second}
        nothing = asyncio.ensure_future(anext(wake_ups))
        await inbox.read(first, "0-0")  # a round trip later there still is nothing
        assert not nothing.done()
        nothing.cancel()
        await asyncio.wait([nothing])
        await inbox.put(first, Say(text="hi"))
        assert await _next(wake_ups) == first


async def test_leaving_ends_the_iteration_and_leaves_no_task_or_connection_behind(
    redis_client: Redis,
) -> None:
    before = asyncio.all_tasks()
    async with WakeUps(redis_client, "w1") as wake_ups:
        waiting = asyncio.create_task(_collect(wake_ups))
        await asyncio.sleep(0)
    assert await asyncio.wait_for(waiting, 5) == []
    await wake_ups.close()
    assert asyncio.all_tasks() == before
    await eventually(lambda: _is_deaf(redis_client, "w1"), what="nobody listens")


async def test_a_cancelled_listener_lets_go(redis_client: Redis) -> None:
    before = asyncio.all_tasks()

    async def listen() -> None:
        async with WakeUps(redis_client, "w1") as wake_ups:
            await _collect(wake_ups)

    task = asyncio.create_task(listen())
    await eventually(lambda: _hears(redis_client, "w1"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before


async def test_a_cut_connection_is_renewed_and_everything_is_to_be_checked(redis_client: Redis) -> None:
    session_id, _ = await an_owned_session(redis_client, "w1")
    async with WakeUps(redis_client, "w1") as wake_ups:
        await redis_client.client_kill_filter(_type="pubsub")
        assert await _next(wake_ups) == ""
        await eventually(lambda: _hears(redis_client, "w1"))
        await Inbox(redis_client).put(session_id, Say(text="hi"))
        assert await _next(wake_ups) == session_id


async def test_wake_ups_survive_a_restart_of_redis(tmp_path: Path) -> None:
    port = free_port()
    server = start_redis(port, tmp_path, append_only=True)
    client = connect(SimpleNamespace(redis_url=server.url))
    try:
        session_id, _ = await an_owned_session(client, "w1")
        async with WakeUps(client, "w1") as wake_ups:
            for _ in range(2):
                await asyncio.to_thread(server.stop)
                server = await asyncio.to_thread(start_redis, port, tmp_path, append_only=True)
                assert await _next(wake_ups) == ""
                await eventually(lambda: _hears(client, "w1"))
                await Inbox(client).put(session_id, Say(text="hi"))
                assert await _next(wake_ups) == session_id
    finally:
        await client.aclose()
        server.stop()


async def test_a_connection_that_says_nothing_any_more_is_given_up(redis_client: Redis) -> None:
    """CLIENT PAUSE leaves connections open and unanswered, as a broken network path does."""
    async with WakeUps(redis_client, "w1", silence_s=0.05) as wake_ups:
        other = redis.asyncio.from_url(_url(redis_client), decode_responses=True)
        await other.client_pause(400)
        assert await _next(wake_ups) == ""
        await other.aclose()
        await eventually(lambda: _hears(redis_client, "w1"))


async def test_a_quiet_but_living_connection_is_kept(redis_client: Redis) -> None:
    async with WakeUps(redis_client, "w1", silence_s=0.01) as wake_ups:
        listener = asyncio.ensure_future(anext(wake_ups))
        await redis_client.config_resetstat()

        async def asked_often() -> bool:
            stats = await redis_client.info("commandstats")
            return stats.get("cmdstat_ping", {"calls": 0})["calls"] > 10

        await eventually(asked_often)
        assert not listener.done()
        listener.cancel()
        await asyncio.wait([listener])


async def test_entering_without_redis_says_so_quickly() -> None:
    client = connect(SimpleNamespace(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    before = time.monotonic()
    with pytest.raises(UnavailableError, match="redis_unavailable"):
        async with WakeUps(client, "w1"):
            pass
    assert time.monotonic() - before < 3
    await client.aclose()


async def _collect(wake_ups: WakeUps) -> list[str]:
    return [session_id async for session_id in wake_ups]


async def _hears(client: Redis, worker: str) -> bool:
    return (await client.pubsub_numsub(wake_channel(worker)))[0][1] == 1


async def _is_deaf(client: Redis, worker: str) -> bool:
    return (await client.pubsub_numsub(wake_channel(worker)))[0][1] == 0


def _url(client: Redis) -> str:
    told = client.connection_pool.connection_kwargs
    return f"redis://{told['host']}:{told['port']}/0"
