from __future__ import annotations

import asyncio
import dataclasses

import pytest
from redis.asyncio import Redis

from shared.errors import ConflictError, FencedError, InvalidRequestError, NotFoundError
from shared.ids import new_session_id
from shared.session.commands import Say
from shared.session.log import Archived, SessionCreated, StateChanged
from shared.session.model import Session, SessionState, Transport
from shared.store.attach_queue import AttachQueue
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.keys import INDEX, index_member
from shared.store.limits import Limits
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from tests.integration.store.examples import (
    RETENTION_S,
    a_session,
    a_stored_session,
    a_turn,
    an_owned_session,
    tool_called,
)

ARCHIVED = Archived(turns=2, tools=1, duration_s=3.5, summary="All said.", at_ms=99)


@pytest.fixture
def store(redis_client: Redis) -> SessionStore:
    return SessionStore(redis_client, retention_s=RETENTION_S)


async def _all(store: SessionStore, limit: int, state: SessionState | None = None) -> list[Session]:
    found: list[Session] = []
    cursor = ""
    while True:
        page = await store.page(limit, cursor, state)
        assert len(page.sessions) <= limit
        found.extend(page.sessions)
        cursor = page.next_cursor
        if not cursor:
            return found


async def test_a_created_session_is_kept_field_by_field_with_the_first_entry_of_its_log(
    store: SessionStore, redis_client: Redis
) -> None:
    session = a_session(max_duration_s=600)
    await store.create(session)
    assert await store.get(session.session_id) == session
    (first,) = await EventLog(redis_client).read(session.session_id)
    assert first.epoch == 0
    assert first.entry == SessionCreated(
        agent="member_services", agent_version="0a1b2c", transport="webrtc", at_ms=session.created_at_ms
    )


async def test_a_session_is_not_created_twice(store: SessionStore, redis_client: Redis) -> None:
    session = a_session()
    await store.create(session)
    with pytest.raises(ConflictError, match="session_exists"):
        await store.create(dataclasses.replace(session, agent="other"))
    assert await store.get(session.session_id) == session
    assert len(await EventLog(redis_client).read_all(session.session_id)) == 1


async def test_an_unknown_session_is_not_found_by_anything(store: SessionStore, redis_client: Redis) -> None:
    absent = new_session_id()
    attempts = [
        store.get(absent),
        store.report_call(absent, "rtc_1", "azure_openai"),
        store.mark_ended(absent, "idle", 1),
        store.archive(absent, ARCHIVED),
        EventLog(redis_client).append(absent, [a_turn()]),
        Inbox(redis_client).put(absent, Say(text="hi")),
        Ownership(redis_client, lease_ttl_s=5).acquire(absent, "w1"),
    ]
    for attempt in attempts:
        with pytest.raises(NotFoundError, match="session_not_found"):
            await attempt
    assert await redis_client.keys(f"*{absent}*") == []


async def test_reporting_the_call_moves_the_session_on_and_is_idempotent(
    store: SessionStore, redis_client: Redis
) -> None:
    session_id = await a_stored_session(redis_client)
    session = await store.report_call(session_id, "rtc_a1", "azure_openai")
    assert (session.state, session.call_id, session.provider) == (
        SessionState.CONNECTING,
        "rtc_a1",
        "azure_openai",
    )
    assert await store.report_call(session_id, "rtc_a1", "azure_openai") == session
    assert await store.session_of_call("rtc_a1") == session_id
    entries = [logged.entry for logged in await EventLog(redis_client).read_all(session_id)]
    assert [e.state for e in entries if isinstance(e, StateChanged)] == ["connecting"]


async def test_a_session_without_a_call_is_begun_once(store: SessionStore, redis_client: Redis) -> None:
    session_id = await a_stored_session(redis_client)
    session = await store.begin(session_id, "azure_openai")
    assert (session.state, session.call_id, session.provider) == (
        SessionState.CONNECTING,
        "",
        "azure_openai",
    )
    assert await store.begin(session_id, "another") == session
    entries = [logged.entry for logged in await EventLog(redis_client).read_all(session_id)]
    assert [e.state for e in entries if isinstance(e, StateChanged)] == ["connecting"]
    await store.mark_ended(session_id, "idle", 9)
    with pytest.raises(ConflictError, match="session_ended"):
        await store.begin(session_id, "azure_openai")
    with pytest.raises(NotFoundError, match="session_not_found"):
        await store.begin(new_session_id(), "azure_openai")


async def test_another_call_for_the_same_session_is_refused_and_stays_free(
    store: SessionStore, redis_client: Redis
) -> None:
    session_id = await a_stored_session(redis_client)
    await store.report_call(session_id, "rtc_a1", "azure_openai")
    with pytest.raises(ConflictError, match="call_already_reported"):
        await store.report_call(session_id, "rtc_b2", "azure_openai")
    assert await store.session_of_call("rtc_b2") is None
    assert (await store.get(session_id)).call_id == "rtc_a1"


async def test_the_call_of_another_session_is_refused(store: SessionStore, redis_client: Redis) -> None:
    first, second = await a_stored_session(redis_client), await a_stored_session(redis_client)
    await store.report_call(first, "rtc_a1", "azure_openai")
    with pytest.raises(ConflictError, match="call_of_another_session"):
        await store.report_call(second, "rtc_a1", "azure_openai")
    assert (await store.get(second)).state is SessionState.CREATED


async def test_of_many_sessions_that_report_one_call_at_once_one_gets_it(
    store: SessionStore, redis_client: Redis
) -> None:
    sessions = [await a_stored_session(redis_client) for _ in range(8)]
    outcomes = await asyncio.gather(
        *(store.report_call(s, "rtc_a1", "azure_openai") for s in sessions), return_exceptions=True
    )
    winners = [o for o in outcomes if isinstance(o, Session)]
    assert len(winners) == 1, outcomes
    assert await store.session_of_call("rtc_a1") == winners[0].session_id


async def test_a_call_is_not_reported_to_an_ended_session(store: SessionStore, redis_client: Redis) -> None:
    session_id = await a_stored_session(redis_client)
    await store.mark_ended(session_id, "never_connected", 5)
    with pytest.raises(ConflictError, match="session_ended"):
        await store.report_call(session_id, "rtc_a1", "azure_openai")
    assert await store.session_of_call("rtc_a1") is None


async def test_pages_come_newest_first_and_miss_nothing(store: SessionStore, redis_client: Redis) -> None:
    created = [a_session(created_at_ms=1_700_000_000_000 + n // 3) for n in range(23)]
    for session in created:
        await store.create(session)
    expected = sorted(
        (s.session_id for s in created),
        key=lambda i: next((s.created_at_ms, s.session_id) for s in created if s.session_id == i),
        reverse=True,
    )
    for limit in (1, 4, 23, 50):
        assert [s.session_id for s in await _all(store, limit)] == expected


async def test_pages_can_be_of_one_state(store: SessionStore, redis_client: Redis) -> None:
    sessions = [await a_stored_session(redis_client) for _ in range(12)]
    ended = set(sessions[::4])
    for session_id in ended:
        await store.mark_ended(session_id, "idle", 5)
    assert {s.session_id for s in await _all(store, 2, SessionState.ENDED)} == ended
    assert len(await _all(store, 5, SessionState.CREATED)) == 9
    assert await _all(store, 5, SessionState.ACTIVE) == []


async def test_a_session_that_appears_between_pages_does_not_disturb_them(
    store: SessionStore, redis_client: Redis
) -> None:
    older = [await a_stored_session(redis_client, created_at_ms=1_000 + n) for n in range(4)]
    page = await store.page(2)
    await a_stored_session(redis_client, created_at_ms=5_000)
    rest = await store.page(5, page.next_cursor)
    assert [s.session_id for s in page.sessions + rest.sessions] == older[::-1]


@pytest.mark.parametrize("cursor", ["x", "12", "12:", ":ses", "٣:ses_1", "9" * 200 + ":a"])
async def test_a_cursor_that_is_none_is_refused(store: SessionStore, cursor: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid_cursor"):
        await store.page(5, cursor)


async def test_listings_of_expired_sessions_are_cleared_and_fresh_ones_are_left(
    store: SessionStore, redis_client: Redis
) -> None:
    expired = index_member(1_700_000_000_000, new_session_id())
    fresh = index_member(a_session().created_at_ms, new_session_id())  # its record may be on the way
    await redis_client.zadd(INDEX, {expired: 0, fresh: 0})
    assert (await store.page(10)).sessions == []
    assert await redis_client.zrange(INDEX, 0, -1) == [fresh]


async def test_creating_sessions_clears_the_index_of_expired_ones_bit_by_bit(
    store: SessionStore, redis_client: Redis
) -> None:
    await redis_client.zadd(INDEX, {index_member(n, new_session_id()): 0 for n in range(20)})
    for _ in range(60):
        await a_stored_session(redis_client)
    assert await redis_client.zcard(INDEX) < 75


async def test_ending_logs_the_first_reason_and_takes_the_owner_off(
    store: SessionStore, redis_client: Redis
) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    ownership = Ownership(redis_client, lease_ttl_s=30)
    assert await store.mark_ended(session_id, "max_duration", 77) is True
    assert await store.mark_ended(session_id, "idle", 88) is False
    session = await store.get(session_id)
    assert (session.state, session.end_reason, session.ended_at_ms, session.owner) == (
        SessionState.ENDED,
        "max_duration",
        77,
        "",
    )
    assert session.epoch > epoch
    with pytest.raises(FencedError):
        await ownership.commit(session_id, epoch, entries=[a_turn()])
    assert await ownership.renew("w1", {session_id: epoch}) == {session_id}
    entries = [logged.entry for logged in await EventLog(redis_client).read_all(session_id)]
    assert entries[-1] == StateChanged(state="ended", reason="max_duration", at_ms=77)
    assert sum(isinstance(e, StateChanged) for e in entries) == 1


async def test_of_many_that_end_a_session_at_once_one_did(store: SessionStore, redis_client: Redis) -> None:
    session_id = await a_stored_session(redis_client)
    outcomes = await asyncio.gather(*(store.mark_ended(session_id, f"r{n}", n) for n in range(10)))
    assert sum(outcomes) == 1
    assert (await store.get(session_id)).end_reason == f"r{outcomes.index(True)}"


async def test_archiving_happens_once_and_only_after_the_end(
    store: SessionStore, redis_client: Redis
) -> None:
    session_id = await a_stored_session(redis_client)
    with pytest.raises(ConflictError, match="session_not_ended"):
        await store.archive(session_id, ARCHIVED)
    await store.mark_ended(session_id, "idle", 5)
    assert await store.archive(session_id, ARCHIVED) is True
    assert await store.archive(session_id, ARCHIVED) is False
    session = await store.get(session_id)
    assert (session.state, session.summary) == (SessionState.ARCHIVED, "All said.")
    assert await store.mark_ended(session_id, "idle", 6) is False
    entries = [logged.entry for logged in await EventLog(redis_client).read_all(session_id)]
    assert entries.count(ARCHIVED) == 1


async def test_erasing_leaves_nothing_of_the_session_and_fences_its_owner(
    store: SessionStore, redis_client: Redis
) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    other = await a_stored_session(redis_client)
    ownership = Ownership(redis_client, lease_ttl_s=30)
    await store.report_call(session_id, "rtc_a1", "azure_openai")
    await Limits(redis_client).reserve_live("key:0011223344556677", session_id, 5, 60)
    await Inbox(redis_client).put(session_id, Say(text="hi"), dedupe="once")
    await ownership.commit(session_id, epoch, entries=[tool_called("c1")])

    await store.erase(session_id)

    for key in await redis_client.keys("*"):
        kind = await redis_client.type(key)
        text = {
            "string": lambda k=key: redis_client.get(k),
            "zset": lambda k=key: redis_client.zrange(k, 0, -1),
            "hash": lambda k=key: redis_client.hgetall(k),
            "stream": lambda k=key: redis_client.xrange(k),
        }[kind]
        assert session_id not in f"{key} {await text()}"
    with pytest.raises(FencedError):
        await ownership.commit(session_id, epoch, entries=[a_turn()])
    assert await ownership.renew("w1", {session_id: epoch}) == {session_id}
    assert await redis_client.keys(f"*{session_id}*") == []
    assert (await store.get(other)).session_id == other
    await store.erase(session_id)


async def test_a_worker_that_claims_an_erased_session_is_told(
    store: SessionStore, redis_client: Redis
) -> None:
    session_id = await a_stored_session(redis_client)
    queue = AttachQueue(redis_client)
    await queue.enqueue(session_id, "")
    await store.erase(session_id)
    (job,) = await queue.claim("w1", 1, 0)
    with pytest.raises(NotFoundError, match="session_not_found"):
        await Ownership(redis_client, lease_ttl_s=5).acquire(job.session_id, "w1")


async def test_live_sessions_are_counted_by_their_reservations(
    store: SessionStore, redis_client: Redis
) -> None:
    limits = Limits(redis_client)
    assert await store.live_count("p") == 0
    await limits.reserve_live("p", "ses_1", 5, 60)
    await limits.reserve_live("p", "ses_2", 5, 60)
    assert await store.live_count("p") == 2
    await limits.release_live("p", "ses_1")
    assert await store.live_count("p") == 1


async def test_a_phone_call_gets_its_id_when_the_carrier_tells_it_and_keeps_it(
    store: SessionStore, redis_client: Redis
) -> None:
    session = a_session(transport=Transport.ACS, direction="inbound")
    await store.create(session)
    await store.begin(session.session_id, "azure_openai")
    named = await store.name_call(session.session_id, "41f1", answered_at_ms=7)
    assert (named.call_id, named.answered_at_ms, named.state) == ("41f1", 7, SessionState.CONNECTING)
    assert named.direction == "inbound"
    assert await store.name_call(session.session_id, "41f1", answered_at_ms=9) == named
    assert await store.session_of_call("41f1") == session.session_id
    with pytest.raises(ConflictError, match="call_already_reported"):
        await store.name_call(session.session_id, "52a2")
    assert await store.session_of_call("52a2") is None
    other = await a_stored_session(redis_client)
    with pytest.raises(ConflictError, match="call_of_another_session"):
        await store.name_call(other, "41f1")


async def test_a_call_that_comes_up_too_late_is_named_to_be_hung_up(
    store: SessionStore, redis_client: Redis
) -> None:
    session_id = await a_stored_session(redis_client)
    await store.mark_ended(session_id, "never_connected", 1)
    named = await store.name_call(session_id, "41f1")
    assert (named.call_id, named.state, named.answered_at_ms) == ("41f1", SessionState.ENDED, 0)
    with pytest.raises(NotFoundError):
        await store.name_call(new_session_id(), "52a2")
    assert await store.session_of_call("52a2") is None


async def test_a_name_of_a_call_leads_to_one_session(store: SessionStore, redis_client: Redis) -> None:
    ids = [await a_stored_session(redis_client) for _ in range(2)]
    claims = [store.claim_call(each, "corr-1") for each in ids * 2]
    assert len(set(await asyncio.gather(*claims))) == 1


async def test_a_record_of_an_earlier_version_has_no_direction(
    store: SessionStore, redis_client: Redis
) -> None:
    session_id = await a_stored_session(redis_client)
    await redis_client.hdel(f"{{{session_id}}}:record", "direction", "answered_at_ms")
    read = await store.get(session_id)
    assert (read.direction, read.answered_at_ms) == ("", 0)
    assert (await store.name_call(session_id, "41f1", answered_at_ms=5)).answered_at_ms == 5
