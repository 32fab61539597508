from __future__ import annotations

import pytest
from redis.asyncio import Redis

from shared.errors import InvalidRequestError
from shared.session.codec import LOG
from shared.session.log import ErrorRecorded, LoggedEntry
from shared.store.event_log import MAX_ENTRY_BYTES, EventLog
from shared.store.keys import SessionKeys
from shared.store.ownership import Ownership
from shared.store.scripts import MAX_LOG_ENTRIES
from tests.integration.store.examples import (
    a_stored_session,
    a_turn,
    an_error,
    an_owned_session,
    tool_called,
    tool_finished,
)


async def test_entries_are_read_back_in_order_page_by_page(redis_client: Redis) -> None:
    log = EventLog(redis_client)
    session_id = await a_stored_session(redis_client)
    turns = [a_turn(f"turn {n}: ünïcode", at_ms=n) for n in range(25)]
    ids = await log.append(session_id, turns[:10]) + await log.append(session_id, turns[10:])
    assert len(set(ids)) == 25
    read: list[LoggedEntry] = []
    while page := await log.read(session_id, read[-1].entry_id if read else "0-0", limit=7):
        read.extend(page)
    assert [logged.entry for logged in read[1:]] == turns
    assert [logged.entry_id for logged in read[1:]] == ids
    assert {logged.epoch for logged in read} == {0}


async def test_the_whole_log_is_read_beyond_one_page(redis_client: Redis) -> None:
    log = EventLog(redis_client)
    session_id = await a_stored_session(redis_client)
    await log.append(session_id, [a_turn(str(n)) for n in range(1200)])
    read = await log.read_all(session_id)
    assert [getattr(logged.entry, "text", "") for logged in read[1:]] == [str(n) for n in range(1200)]


async def test_owner_and_control_plane_share_one_log(redis_client: Redis) -> None:
    log = EventLog(redis_client)
    session_id, epoch = await an_owned_session(redis_client)
    ownership = Ownership(redis_client, lease_ttl_s=5)
    await ownership.commit(session_id, epoch, entries=[a_turn("one")])
    await log.append(session_id, [an_error("two")])
    await ownership.commit(session_id, epoch, entries=[a_turn("three")])
    assert [logged.epoch for logged in (await log.read_all(session_id))[1:]] == [epoch, 0, epoch]


async def test_an_entry_that_is_too_large_is_refused_and_nothing_of_its_batch_is_written(
    redis_client: Redis,
) -> None:
    log = EventLog(redis_client)
    session_id = await a_stored_session(redis_client)
    with pytest.raises(InvalidRequestError, match="entry_too_large") as caught:
        await log.append(session_id, [a_turn(), a_turn("x" * MAX_ENTRY_BYTES)])
    assert str(MAX_ENTRY_BYTES) in caught.value.detail
    assert len(await log.read_all(session_id)) == 1
    await log.append(session_id, [a_turn("x" * (MAX_ENTRY_BYTES - 1000))])


async def test_a_log_stays_bounded_and_keeps_its_newest_entries(redis_client: Redis) -> None:
    log = EventLog(redis_client)
    session_id = await a_stored_session(redis_client)
    fill = "for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'epoch', 0, 'entry', ARGV[2]) end"
    entry = LOG.encode(a_turn("x")).decode()
    await redis_client.eval(fill, 1, SessionKeys(session_id).log, MAX_LOG_ENTRIES + 4000, entry)
    await log.append(session_id, [a_turn("x")] * 100)
    last = await log.append(session_id, [a_turn("last")])
    length = await redis_client.xlen(SessionKeys(session_id).log)
    assert MAX_LOG_ENTRIES <= length <= MAX_LOG_ENTRIES + 200
    newest = await redis_client.xrevrange(SessionKeys(session_id).log, count=1)
    assert newest[0][0] == last[0]


async def test_an_entry_of_another_version_is_shown_as_such_and_hides_nothing(redis_client: Redis) -> None:
    log = EventLog(redis_client)
    session_id = await a_stored_session(redis_client)
    await redis_client.xadd(
        SessionKeys(session_id).log, {"epoch": "3", "entry": '{"type":"hologram_shown","at_ms":5}'}
    )
    await log.append(session_id, [a_turn("after")])
    _, unknown, after = await log.read_all(session_id)
    assert isinstance(unknown.entry, ErrorRecorded)
    assert (unknown.epoch, unknown.entry.code) == (3, "undecodable")
    assert after.entry == a_turn("after")


async def test_nothing_is_appended_for_no_entries(redis_client: Redis) -> None:
    session_id = await a_stored_session(redis_client)
    assert await EventLog(redis_client).append(session_id, []) == []


async def test_the_tool_ledger_counts_what_the_control_plane_writes_too(redis_client: Redis) -> None:
    log = EventLog(redis_client)
    session_id, epoch = await an_owned_session(redis_client)
    ownership = Ownership(redis_client, lease_ttl_s=5)
    await ownership.commit(session_id, epoch, entries=[tool_called("c1")])
    first = await log.append(session_id, [tool_finished("c1")])
    assert first[0]
    assert await ownership.commit(session_id, epoch, entries=[tool_finished("c1")]) == [""]


@pytest.mark.parametrize("cursor", ["", "5", "a-b", "1-2-3", "(1-1", "-", "1-" + "9" * 60, "٣-٣"])
async def test_a_cursor_that_is_none_is_refused(redis_client: Redis, cursor: str) -> None:
    session_id = await a_stored_session(redis_client)
    with pytest.raises(InvalidRequestError, match="invalid_cursor"):
        await EventLog(redis_client).read(session_id, cursor)
