"""One session's whole life, and what goes on around it: every operation of the store at least once."""

from __future__ import annotations

from redis.asyncio import Redis

from shared.session.commands import Say, ToolResult
from shared.session.jobs import LifecycleEvent, StartDurableTool
from shared.session.log import Archived, Attached, ToolStatus
from shared.session.model import Session, SessionState, Usage
from shared.store.attach_queue import AttachQueue
from shared.store.deliveries import Claimed, Deliveries, Done
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.keys import LEASES_EXPIRY, LEASES_HOLDERS
from shared.store.limits import Limits
from shared.store.outbox import Outbox
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from shared.store.transfer import export_session, import_session
from shared.store.workers import WorkerRegistry
from tests.integration.store.examples import (
    RETENTION_S,
    a_move,
    a_session,
    a_turn,
    tool_called,
    tool_finished,
)


async def live_through(redis: Redis) -> list[str]:
    """Return the ids of the sessions: one archived, one live, one imported; a fourth was erased."""
    store = SessionStore(redis, retention_s=RETENTION_S)
    first, live, erased = a_session(), a_session(), a_session()
    for session in (first, live, erased):
        await _call(redis, store, session.session_id, session)
    await store.erase(erased.session_id)
    await _phone_call(store)
    await _end(redis, store, first.session_id)
    lines = [line async for line in export_session(redis, first.session_id)]
    await store.erase(first.session_id)
    await import_session(redis, lines)
    await _around(redis)
    epoch = (await store.get(live.session_id)).epoch
    ownership = Ownership(redis, lease_ttl_s=30)
    assert await ownership.renew("w1", {live.session_id: epoch}) == set()
    await ownership.hand_over(live.session_id, epoch)
    assert await ownership.lapsed(5) == [live.session_id]
    assert await ownership.renew("w1", {live.session_id: epoch}) == {live.session_id}
    assert await ownership.acquire(live.session_id, "w2") == epoch + 1
    assert [s.session_id for s in (await store.page(10)).sessions] == sorted(
        (first.session_id, live.session_id),
        key=lambda i: (first.created_at_ms if i == first.session_id else live.created_at_ms, i),
        reverse=True,
    )
    return [first.session_id, live.session_id]


async def _call(redis: Redis, store: SessionStore, session_id: str, session: Session) -> None:
    ownership = Ownership(redis, lease_ttl_s=30)
    inbox, queue = Inbox(redis), AttachQueue(redis)
    await store.create(session)
    call_id = f"rtc_{session_id}"
    await store.report_call(session_id, call_id, "azure_openai")
    assert await store.session_of_call(call_id) == session_id
    await queue.enqueue(session_id, "")
    await queue.claim("dead", 1, 0)
    (job,) = await queue.reclaim("w1", 0, 1)
    epoch = await ownership.acquire(session_id, "w1")
    assert epoch is not None
    await ownership.commit(
        session_id,
        epoch,
        entries=[
            Attached(worker="w1", epoch=epoch, call_id=call_id, took_ms=3.0, at_ms=50),
            a_move(SessionState.ACTIVE),
        ],
        state=SessionState.ACTIVE,
    )
    await queue.done(job)
    assert await ownership.renew("w1", {session_id: epoch}) == set()
    await redis.delete(LEASES_EXPIRY, LEASES_HOLDERS)
    assert await ownership.renew("w1", {session_id: epoch}) == set()
    command = ToolResult(tool_call_id="c1", status=ToolStatus.OK, output="{}", duration_ms=1.0)
    cursor = await inbox.put(session_id, command, dedupe="c1")
    await inbox.put(session_id, Say(text="hi"))
    assert len(await inbox.read(session_id, "0-0")) == 2
    await ownership.commit(session_id, epoch, entries=[a_turn(), tool_called("c1"), tool_called("c2")])
    await ownership.commit(
        session_id, epoch, entries=[tool_finished("c1")], usage=Usage(responses=1), inbox_cursor=cursor
    )
    assert await ownership.unanswered_tools(session_id) == [tool_called("c2")]
    await EventLog(redis).append(session_id, [a_turn("from outside")])
    assert await ownership.answered_tools(session_id) == {"c1": '{"ok":true}'}
    assert await ownership.lapsed(5) == []


async def _phone_call(store: SessionStore) -> None:
    """A session whose audio a worker carries: begun without a call id, which its carrier tells later."""
    session = a_session()
    await store.create(session)
    await store.begin(session.session_id, "azure_openai")
    await store.name_call(session.session_id, f"leg_{session.session_id}", answered_at_ms=40)
    await store.erase(session.session_id)


async def _end(redis: Redis, store: SessionStore, session_id: str) -> None:
    session = await store.get(session_id)
    await Ownership(redis, lease_ttl_s=30).release(session_id, session.epoch)
    await store.mark_ended(session_id, "idle", 99)
    await store.archive(session_id, Archived(turns=1, tools=1, duration_s=1, summary="Done.", at_ms=100))


async def _around(redis: Redis) -> None:
    outbox, limits, workers = Outbox(redis), Limits(redis), WorkerRegistry(redis)
    start = StartDurableTool(session_id="ses_1", tool_call_id="c1", tool="t", arguments="{}", traceparent="")
    await outbox.put(start, "ses_1:c1")
    await outbox.put(LifecycleEvent(session_id="ses_1", event="attached"))
    await outbox.claim("dead", 1, 0)
    (entry,) = await outbox.reclaim("w1", 0, 1)
    await outbox.done(entry)
    assert await outbox.depth() == 1
    await limits.check_rate("p", "token", 30)
    await limits.reserve_live("p", "ses_1", 5, 60)
    await limits.reserve_live("p", "ses_2", 5, 60)
    await limits.release_live("p", "ses_1")
    assert await SessionStore(redis, retention_s=RETENTION_S).live_count("p") == 1
    await workers.beat("w1", 1, 100, 10)
    await workers.beat("w2", 1, 100, 10)
    await workers.leave("w2")
    assert [info.worker for info in await workers.snapshot()] == ["w1"]
    deliveries = Deliveries(redis)
    claim = await deliveries.claim("topic", "evt_1")
    assert isinstance(claim, Claimed)
    await deliveries.release("topic", "evt_1", claim)
    async with deliveries.handling("topic", "evt_1") as first:
        assert first
    assert isinstance(await deliveries.claim("topic", "evt_1"), Done)
