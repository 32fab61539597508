"""The worker's way for commits: many over one connection, and the client's own way whenever it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from emulators.redis_server import RunningRedis
from shared.errors import FencedError
from shared.store.command_pipe import CommandPipe
from shared.store.connection import connect
from shared.store.event_log import EventLog
from shared.store.ownership import Ownership
from tests.integration.store.examples import a_turn, an_error, an_owned_session, tool_called
from tests.integration.store.lossy_proxy import LossyProxy
from tests.support.eventually import eventually


@pytest.fixture
async def pipe(redis_client: Redis) -> AsyncIterator[CommandPipe]:
    pipe = CommandPipe(redis_client)
    yield pipe
    await pipe.close()


async def connected(client: Redis, pipe: CommandPipe) -> None:
    """Wait until commands no longer go through the client's pool."""
    pooled = await client.client_id()

    async def own_connection() -> bool:
        return await pipe.execute_command("CLIENT", "ID") != pooled

    await eventually(own_connection)


async def test_commits_of_many_sessions_at_once_are_all_written(
    redis_client: Redis, pipe: CommandPipe
) -> None:
    await connected(redis_client, pipe)
    ownership = Ownership(redis_client, lease_ttl_s=30, commits_through=pipe)
    sessions = [await an_owned_session(redis_client) for _ in range(40)]

    async def commit(session_id: str, epoch: int) -> list[str]:
        first = await ownership.commit(session_id, epoch, entries=[a_turn("Grüß Gott")], commit_id="a")
        again = await ownership.commit(session_id, epoch, entries=[a_turn("Grüß Gott")], commit_id="a")
        assert first == again, "a repeated commit is told what the first one wrote"
        return first + await ownership.commit(session_id, epoch, entries=[tool_called("call_1")])

    written = await asyncio.gather(*(commit(*session) for session in sessions))
    for (session_id, _), ids in zip(sessions, written, strict=True):
        _, *logged = await EventLog(redis_client).read_all(session_id)
        assert [entry.entry_id for entry in logged] == ids
        assert [entry.entry for entry in logged] == [a_turn("Grüß Gott"), tool_called("call_1")]


async def test_a_refusal_reaches_only_the_one_that_was_refused(
    redis_client: Redis, pipe: CommandPipe
) -> None:
    await connected(redis_client, pipe)
    ownership = Ownership(redis_client, lease_ttl_s=30, commits_through=pipe)
    session_id, epoch = await an_owned_session(redis_client)
    results = await asyncio.gather(
        pipe.execute_command("INCR", "no number: it is a", "list"),
        ownership.commit(session_id, epoch - 1, entries=[an_error("stale")]),
        ownership.commit(session_id, epoch, entries=[a_turn()]),
        return_exceptions=True,
    )
    assert isinstance(results[0], ResponseError)
    assert isinstance(results[1], FencedError)
    assert isinstance(results[2], list)
    assert len(results[2]) == 1


async def test_a_caller_that_gives_up_does_not_disturb_the_others(
    redis_client: Redis, pipe: CommandPipe
) -> None:
    await connected(redis_client, pipe)
    impatient = asyncio.create_task(pipe.execute_command("ECHO", "impatient"))
    patient = [asyncio.create_task(pipe.execute_command("ECHO", str(number))) for number in range(20)]
    await asyncio.sleep(0)
    impatient.cancel()
    assert await asyncio.gather(*patient) == [str(number) for number in range(20)]
    assert impatient.cancelled()


async def test_an_answer_lost_with_the_connection_is_asked_for_again_and_the_write_is_done_once(
    redis_server: RunningRedis, redis_client: Redis
) -> None:
    async with LossyProxy(redis_server.port) as proxy:
        client = connect(SimpleNamespace(redis_url=proxy.url))
        pipe = CommandPipe(client)
        try:
            await connected(client, pipe)
            ownership = Ownership(client, lease_ttl_s=30, commits_through=pipe)
            session_id, epoch = await an_owned_session(redis_client)
            proxy.lose_after = 0
            ids = await ownership.commit(session_id, epoch, entries=[a_turn()], commit_id="once")
            assert proxy.lost == 1
            _, *logged = await EventLog(redis_client).read_all(session_id)
            assert [entry.entry_id for entry in logged] == ids
            await connected(client, pipe)  # it comes back by itself
        finally:
            await pipe.close()
            await client.aclose()


async def test_no_command_waits_for_the_answers_to_those_before_it(
    redis_server: RunningRedis, redis_client: Redis
) -> None:
    async with LossyProxy(redis_server.port) as proxy:
        client = connect(SimpleNamespace(redis_url=proxy.url))
        pipe = CommandPipe(client)
        try:
            await connected(client, pipe)
            proxy.answering.clear()
            asked: list[asyncio.Task[object]] = []
            for number in range(3):
                asked.append(asyncio.create_task(pipe.execute_command("INCR", "pipe:count")))
                done = str(number + 1)
                await eventually(lambda done=done: _is(redis_client, "pipe:count", done), what=done)
            assert not any(task.done() for task in asked)
            proxy.answering.set()
            assert await asyncio.gather(*asked) == [1, 2, 3]
        finally:
            await pipe.close()
            await client.aclose()


async def _is(client: Redis, key: str, value: str) -> bool:
    return await client.get(key) == value


async def test_a_closed_pipe_leaves_the_way_to_the_client(redis_client: Redis, pipe: CommandPipe) -> None:
    await connected(redis_client, pipe)
    await pipe.close()
    await pipe.close()
    assert await pipe.execute_command("ECHO", "still") == "still"
    await CommandPipe(redis_client).close()  # never used
