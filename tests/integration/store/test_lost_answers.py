"""The network loses the answer to a write. The client asks again, and the write is done once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis

from emulators.redis_server import RunningRedis
from shared.session.commands import Say
from shared.session.jobs import LifecycleEvent
from shared.session.log import Archived, LogEntry
from shared.session.model import SessionState
from shared.store.attach_queue import AttachQueue
from shared.store.connection import connect
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.outbox import Outbox
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from tests.integration.store.examples import (
    RETENTION_S,
    a_session,
    a_stored_session,
    a_turn,
    an_owned_session,
    tool_called,
    tool_finished,
)
from tests.integration.store.lossy_proxy import LossyProxy


@dataclass
class Path:
    """A client behind the lossy proxy."""

    client: Redis
    proxy: LossyProxy

    def lose_the_next_answer(self) -> None:
        self.proxy.lose_after = 0


@pytest.fixture
async def path(redis_client: Redis, redis_server: RunningRedis) -> AsyncIterator[Path]:
    async with LossyProxy(redis_server.port) as proxy:
        client = connect(SimpleNamespace(redis_url=proxy.url))
        await _teach(client)
        yield Path(client, proxy)
        assert proxy.lost > 0
        await client.aclose()


async def _teach(client: Redis) -> None:
    """Let Redis know the scripts, so that the lost answer is the write's own."""
    session_id, epoch = await an_owned_session(client)
    await Ownership(client, lease_ttl_s=5).commit(session_id, epoch, entries=[a_turn()])
    await EventLog(client).append(session_id, [a_turn()])
    await Inbox(client).put(session_id, Say(text="x"))
    await Outbox(client).put(LifecycleEvent(session_id=session_id, event="attached"))
    await AttachQueue(client).enqueue(session_id, "")
    store = SessionStore(client, retention_s=RETENTION_S)
    await store.mark_ended(session_id, "idle", 5)
    await store.archive(session_id, Archived(turns=0, tools=0, duration_s=0, summary="", at_ms=1))
    await store.erase(session_id)


async def _entries(path: Path, session_id: str) -> list[LogEntry]:
    return [logged.entry for logged in await EventLog(path.client).read_all(session_id)]


async def test_a_commit(path: Path) -> None:
    session_id, epoch = await an_owned_session(path.client)
    ownership = Ownership(path.client, lease_ttl_s=5)
    await ownership.commit(session_id, epoch, entries=[tool_called("c1")])
    path.lose_the_next_answer()
    ids = await ownership.commit(session_id, epoch, entries=[a_turn("once"), tool_finished("c1")])
    assert all(ids), "the owner must learn that its own answer to the tool call was taken"
    entries = await _entries(path, session_id)
    assert entries.count(a_turn("once")) == 1
    assert entries.count(tool_finished("c1")) == 1


async def test_appending_to_the_log(path: Path) -> None:
    session_id = await a_stored_session(path.client)
    path.lose_the_next_answer()
    (entry_id,) = await EventLog(path.client).append(session_id, [a_turn("once")])
    logged = await EventLog(path.client).read_all(session_id)
    assert [entry.entry_id for entry in logged if entry.entry == a_turn("once")] == [entry_id]


@pytest.mark.parametrize("dedupe", ["", "result:c1"])
async def test_a_command(path: Path, dedupe: str) -> None:
    session_id = await a_stored_session(path.client)
    inbox = Inbox(path.client)
    path.lose_the_next_answer()
    entry_id = await inbox.put(session_id, Say(text="once"), dedupe=dedupe)
    assert [entry.entry_id for entry in await inbox.read(session_id, "0-0")] == [entry_id]


@pytest.mark.parametrize("dedupe", ["", "ses_1:c1"])
async def test_a_message(path: Path, dedupe: str) -> None:
    outbox = Outbox(path.client)
    for left in await outbox.claim("w1", 10, 0):
        await outbox.done(left)
    path.lose_the_next_answer()
    entry_id = await outbox.put(LifecycleEvent(session_id="ses_1", event="ended"), dedupe)
    assert [entry.entry_id for entry in await outbox.claim("w1", 10, 0)] == [entry_id]


@pytest.mark.parametrize("answer", range(3))
async def test_creating_a_session_whichever_of_its_answers_is_lost(path: Path, answer: int) -> None:
    session = a_session()
    path.proxy.lose_after = answer
    await SessionStore(path.client, retention_s=RETENTION_S).create(session)
    assert len(await _entries(path, session.session_id)) == 1


async def test_ending_and_archiving(path: Path) -> None:
    session_id = await a_stored_session(path.client)
    store = SessionStore(path.client, retention_s=RETENTION_S)
    path.lose_the_next_answer()
    assert await store.mark_ended(session_id, "idle", 5) is True
    path.lose_the_next_answer()
    archived = Archived(turns=0, tools=0, duration_s=0, summary="", at_ms=1)
    assert await store.archive(session_id, archived) is True
    assert path.proxy.lost == 2
    assert (await store.get(session_id)).state is SessionState.ARCHIVED
    assert (await _entries(path, session_id)).count(archived) == 1


@pytest.mark.parametrize("answer", range(3))
async def test_acquiring_whichever_of_its_answers_is_lost(path: Path, answer: int) -> None:
    session_id = await a_stored_session(path.client)
    ownership = Ownership(path.client, lease_ttl_s=30)
    path.proxy.lose_after = answer
    epoch = await ownership.acquire(session_id, "w1")
    assert epoch is not None
    assert await ownership.commit(session_id, epoch, entries=[a_turn()])
    assert await ownership.renew("w1", {session_id: epoch}) == set()


async def test_enqueueing_and_reporting_a_call(path: Path) -> None:
    session_id = await a_stored_session(path.client)
    queue = AttachQueue(path.client)
    path.lose_the_next_answer()
    job_id = await queue.enqueue(session_id, "")
    assert job_id in [job.job_id for job in await queue.claim("w1", 10, 0)]
    store = SessionStore(path.client, retention_s=RETENTION_S)
    path.lose_the_next_answer()
    assert (await store.report_call(session_id, "rtc_a1", "azure_openai")).call_id == "rtc_a1"
