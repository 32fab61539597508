"""Redis goes away and comes back."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis.asyncio

from emulators.redis_server import start_redis
from shared.errors import UnavailableError
from shared.session.commands import Say
from shared.session.jobs import LifecycleEvent
from shared.store.attach_queue import AttachQueue
from shared.store.connection import ANSWER_S, connect
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.limits import Limits
from shared.store.outbox import Outbox
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from shared.store.transfer import export_session
from shared.store.workers import WorkerRegistry
from tests.integration.store.examples import RETENTION_S, a_turn, an_owned_session
from tests.support.ports import free_port

QUICKLY_S = ANSWER_S + 1.5


def _calls(client: redis.asyncio.Redis, session_id: str, epoch: int) -> list[Callable[[], Awaitable[object]]]:
    store = SessionStore(client, retention_s=RETENTION_S)
    ownership = Ownership(client, lease_ttl_s=30)
    return [
        lambda: store.get(session_id),
        lambda: store.page(5),
        lambda: ownership.commit(session_id, epoch, entries=[a_turn()]),
        lambda: ownership.renew("w1", {session_id: epoch}),
        lambda: ownership.acquire(session_id, "w1"),
        lambda: ownership.lapsed(5),
        lambda: EventLog(client).read(session_id),
        lambda: Inbox(client).put(session_id, Say(text="hi")),
        lambda: AttachQueue(client).enqueue(session_id, ""),
        lambda: AttachQueue(client).claim("w1", 5, 500),
        lambda: AttachQueue(client).reclaim("w1", 5, 500),
        lambda: Outbox(client).put(LifecycleEvent(session_id=session_id, event="ended")),
        lambda: Limits(client).check_rate("p", "token", 5),
        lambda: WorkerRegistry(client).beat("w1", 0, 1, 5),
        lambda: anext(export_session(client, session_id)),
    ]


async def test_a_stopped_redis_is_reported_quickly_and_all_goes_on_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    server = start_redis(port, tmp_path, append_only=True)
    client = connect(SimpleNamespace(redis_url=server.url))
    try:
        session_id, epoch = await an_owned_session(client)
        calls = _calls(client, session_id, epoch)
        for call in calls[:4]:
            await call()
        logged = len(await EventLog(client).read_all(session_id))
        await asyncio.to_thread(server.stop)
        before = time.monotonic()
        outcomes = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
        took = time.monotonic() - before
        assert [getattr(outcome, "code", outcome) for outcome in outcomes] == ["redis_unavailable"] * len(
            calls
        )
        assert all(isinstance(outcome, UnavailableError) and outcome.retryable for outcome in outcomes)
        assert took < QUICKLY_S

        server = await asyncio.to_thread(start_redis, port, tmp_path, append_only=True)
        await Ownership(client, lease_ttl_s=30).commit(session_id, epoch, entries=[a_turn("after")])
        entries = await EventLog(client).read_all(session_id)
        assert len(entries) == logged + 1
        assert entries[-1].entry == a_turn("after")
        for call in calls:
            await call()
    finally:
        await client.aclose()
        server.stop()


async def test_a_call_rides_out_a_short_interruption(tmp_path: Path) -> None:
    port = free_port()
    server = start_redis(port, tmp_path, append_only=True)
    client = connect(SimpleNamespace(redis_url=server.url))
    try:
        session_id, epoch = await an_owned_session(client)
        await asyncio.to_thread(server.stop)
        server = await asyncio.to_thread(start_redis, port, tmp_path, append_only=True)
        ids = await Ownership(client, lease_ttl_s=30).commit(session_id, epoch, entries=[a_turn()])
        assert ids[0]
    finally:
        await client.aclose()
        server.stop()


async def test_a_redis_that_accepts_and_says_nothing_is_reported_quickly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = connect(SimpleNamespace(redis_url=f"redis://127.0.0.1:{mute.getsockname()[1]}/0"))
        before = time.monotonic()
        with pytest.raises(UnavailableError, match="redis_unavailable"):
            await SessionStore(client, retention_s=RETENTION_S).live_count("p")
        assert time.monotonic() - before < QUICKLY_S
        await client.aclose()


async def test_a_wrong_credential_is_named_and_not_shown(redis_client: redis.asyncio.Redis) -> None:
    told = redis_client.connection_pool.connection_kwargs
    client = connect(SimpleNamespace(redis_url=f"redis://:hush-hush@{told['host']}:{told['port']}/0"))
    await redis_client.config_set("requirepass", "other")
    try:
        with pytest.raises(UnavailableError, match="credential") as caught:
            await SessionStore(client, retention_s=RETENTION_S).live_count("p")
        assert "hush" not in f"{caught.value!r} {caught.value.__cause__!r}"
    finally:
        await redis_client.config_set("requirepass", "")
        await client.aclose()


async def test_a_redis_without_memory_left_is_named(redis_client: redis.asyncio.Redis) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    ownership = Ownership(redis_client, lease_ttl_s=30)
    await ownership.commit(session_id, epoch, entries=[a_turn()])
    await redis_client.config_set("maxmemory", "1")
    try:
        with pytest.raises(UnavailableError, match="redis_full"):
            await ownership.commit(session_id, epoch, entries=[a_turn()])
    finally:
        await redis_client.config_set("maxmemory", "0")
    assert await ownership.commit(session_id, epoch, entries=[a_turn()])


async def test_a_redis_that_has_forgotten_the_scripts_is_taught_them_again(
    redis_client: redis.asyncio.Redis,
) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    ownership = Ownership(redis_client, lease_ttl_s=30)
    for _ in range(2):
        await redis_client.script_flush()
        assert len(await ownership.commit(session_id, epoch, entries=[a_turn()])) == 1
    assert len(await EventLog(redis_client).read_all(session_id)) == 3
