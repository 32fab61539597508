from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from shared.errors import ConflictError, FencedError, InvalidRequestError, NotFoundError
from shared.ids import new_session_id
from shared.session.commands import Say
from shared.session.model import SessionState, Usage
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.keys import SessionKeys
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from shared.store.transfer import export_session, import_session
from tests.integration.store.examples import (
    RETENTION_S,
    a_move,
    a_stored_session,
    a_turn,
    an_owned_session,
    tool_called,
    tool_finished,
)


async def _exported(redis: Redis, session_id: str) -> list[str]:
    return [line async for line in export_session(redis, session_id)]


async def _a_full_session(redis: Redis) -> tuple[str, int]:
    session_id, epoch = await an_owned_session(redis)
    await SessionStore(redis, retention_s=RETENTION_S).report_call(session_id, "rtc_a1", "azure_openai")
    ownership = Ownership(redis, lease_ttl_s=30)
    inbox = Inbox(redis)
    first = await inbox.put(session_id, Say(text="Grüße, 你好 \u2028"), dedupe="say 1", traceparent="tp")
    await inbox.put(session_id, Say(text="two"))
    await ownership.commit(
        session_id,
        epoch,
        entries=[a_move(SessionState.ACTIVE), a_turn("“quoted”\n"), tool_called("c1"), tool_called("c 2")],
        state=SessionState.ACTIVE,
        usage=Usage(responses=1, input_tokens=20, cached_tokens=10, output_tokens=5),
        inbox_cursor=first,
    )
    await ownership.commit(
        session_id, epoch, entries=[tool_finished("c1"), *[a_turn(str(n)) for n in range(600)]]
    )
    return session_id, epoch


async def _dumped(redis: Redis, session_id: str) -> dict[str, object]:
    """Everything that the store itself would find again, exactly."""
    keys = SessionKeys(session_id)
    return {
        "record": await redis.hgetall(keys.record),
        "log": await redis.xrange(keys.log),
        "inbox": await redis.xrange(keys.inbox),
        "tools": await redis.hgetall(keys.tools),
        "seen": await redis.hgetall(keys.seen),
    }


async def test_what_is_imported_is_what_was_exported(redis_client: Redis) -> None:
    session_id, epoch = await _a_full_session(redis_client)
    before = await _dumped(redis_client, session_id)
    lines = await _exported(redis_client, session_id)
    await redis_client.flushall()
    assert await import_session(redis_client, lines) == session_id
    assert await _dumped(redis_client, session_id) == before
    assert await _exported(redis_client, session_id) == lines

    store = SessionStore(redis_client, retention_s=RETENTION_S)
    assert [s.session_id for s in (await store.page(5)).sessions] == [session_id]
    assert await store.session_of_call("rtc_a1") == session_id
    ownership = Ownership(redis_client, lease_ttl_s=30)
    assert await ownership.unanswered_tools(session_id) == [tool_called("c 2")]
    assert await Inbox(redis_client).put(session_id, Say(text="again"), dedupe="say 1") == ""
    newer = await ownership.acquire(session_id, "w2")
    assert newer is not None
    assert newer > epoch
    for key in await redis_client.keys("*"):
        assert await redis_client.ttl(key) > 0, key


async def test_every_line_is_json_and_tells_its_kind(redis_client: Redis) -> None:
    session_id, _ = await _a_full_session(redis_client)
    lines = await _exported(redis_client, session_id)
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds[0] == "session"
    assert kinds[-1] == "end"
    assert set(kinds) == {*["session", "entry", "open_tool", "answered_tool", "command", "seen", "end"]}
    assert kinds.count("entry") == len(await EventLog(redis_client).read_all(session_id))
    assert not any("\n" in line for line in lines)


async def test_lines_may_come_from_a_stream_with_newlines_and_blanks(redis_client: Redis) -> None:
    session_id, _ = await _a_full_session(redis_client)
    lines = await _exported(redis_client, session_id)
    await SessionStore(redis_client, retention_s=RETENTION_S).erase(session_id)

    async def stream() -> AsyncIterator[str]:
        for line in lines:
            yield line + "\r\n"
        yield "\n"

    assert await import_session(redis_client, stream()) == session_id
    assert await _exported(redis_client, session_id) == lines


async def test_an_unknown_session_is_not_exported(redis_client: Redis) -> None:
    with pytest.raises(NotFoundError, match="session_not_found"):
        await _exported(redis_client, new_session_id())


async def test_a_stored_session_is_not_overwritten_unasked_and_a_live_one_never(redis_client: Redis) -> None:
    session_id, epoch = await _a_full_session(redis_client)
    lines = await _exported(redis_client, session_id)
    with pytest.raises(ConflictError, match="session_exists"):
        await import_session(redis_client, lines)
    with pytest.raises(ConflictError, match="session_live"):
        await import_session(redis_client, lines, replace=True)
    assert await Ownership(redis_client, lease_ttl_s=30).commit(session_id, epoch, entries=[a_turn()])


async def test_replacing_does_not_bring_a_fenced_owner_back(redis_client: Redis) -> None:
    session_id, epoch = await _a_full_session(redis_client)
    ownership = Ownership(redis_client, lease_ttl_s=30)
    while_live = await _exported(redis_client, session_id)
    store = SessionStore(redis_client, retention_s=RETENTION_S)
    await store.mark_ended(session_id, "idle", 5)
    fenced_at = (await store.get(session_id)).epoch
    await import_session(redis_client, while_live, replace=True)
    session = await store.get(session_id)
    assert (session.state, session.epoch, session.owner) == (SessionState.ACTIVE, fenced_at, "")
    with pytest.raises(FencedError):
        await ownership.commit(session_id, epoch, entries=[a_turn()])
    newer = await ownership.acquire(session_id, "w2")
    assert newer is not None
    assert newer > fenced_at


async def test_an_ended_session_is_replaced_exactly(redis_client: Redis) -> None:
    session_id, _ = await _a_full_session(redis_client)
    await SessionStore(redis_client, retention_s=RETENTION_S).mark_ended(session_id, "idle", 5)
    lines = await _exported(redis_client, session_id)
    await EventLog(redis_client).append(session_id, [a_turn("to be undone")])
    await import_session(redis_client, lines, replace=True)
    assert await _exported(redis_client, session_id) == lines


async def test_a_session_whose_call_is_another_ones_here_is_refused(redis_client: Redis) -> None:
    session_id, _ = await _a_full_session(redis_client)
    lines = await _exported(redis_client, session_id)
    await redis_client.flushall()
    other = await a_stored_session(redis_client)
    await SessionStore(redis_client, retention_s=RETENTION_S).report_call(other, "rtc_a1", "azure_openai")
    with pytest.raises(ConflictError, match="call_of_another_session"):
        await import_session(redis_client, lines)
    assert await redis_client.keys(f"*{session_id}*") == []


async def test_whatever_was_said_comes_through(redis_client: Redis) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    ownership = Ownership(redis_client, lease_ttl_s=30)
    texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
    found: list[str] = []

    @settings(max_examples=80, deadline=None, database=None, derandomize=True)
    @given(texts)
    def collect(text: str) -> None:
        found.append(text)

    collect()
    await ownership.commit(session_id, epoch, entries=[a_turn(text) for text in found])
    await ownership.commit(session_id, epoch, entries=[tool_called(text) for text in found])
    lines = await _exported(redis_client, session_id)
    before = await _dumped(redis_client, session_id)
    await redis_client.flushall()
    await import_session(redis_client, "\n".join(lines).split("\n"))
    assert await _dumped(redis_client, session_id) == before


async def _refused(redis: Redis, lines: list[str], match: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid_export") as caught:
        await import_session(redis, lines)
    assert match in caught.value.detail, caught.value.detail
    assert await redis.keys("*") == []


async def test_a_damaged_file_is_refused_by_line_and_nothing_is_written(redis_client: Redis) -> None:
    session_id, _ = await _a_full_session(redis_client)
    lines = await _exported(redis_client, session_id)
    await redis_client.flushall()
    record, end = lines[0], lines[-1]
    entries = [line for line in lines if '"kind":"entry"' in line]
    tool = next(line for line in lines if '"kind":"open_tool"' in line)
    await _refused(redis_client, [], "cut off")
    await _refused(redis_client, lines[:-1], "cut off")
    await _refused(redis_client, [*lines[:5], *lines[6:]], "lines were exported")
    await _refused(redis_client, [*lines, entries[0]], f"Line {len(lines) + 1}: nothing may follow")
    await _refused(redis_client, lines[1:], "Line 1: the first line must be")
    await _refused(redis_client, [record, record, end], "Line 2: there is a second record")
    await _refused(redis_client, [record, "{", end], "Line 2: ")
    await _refused(redis_client, [record, '{"kind":"poem"}', end], "Line 2: ")
    await _refused(redis_client, [record, entries[1], entries[0]], "Line 3: the id")
    await _refused(redis_client, [record, entries[0], entries[0]], "Line 3: the id")
    odd = entries[0].replace('"type":"session_created"', '"type":"hologram"')
    await _refused(redis_client, [record, odd], "Line 2: undecodable")
    await _refused(redis_client, [record, tool.replace("tool_called", "user_turn")], "Line 2: ")
    await _refused(redis_client, [record.replace(session_id, "ses_x' OR 1")], "Line 1: ")
    await _refused(redis_client, [record.replace('"3600"', '"-1"')], "Line 1: retention_s")
    await _refused(redis_client, [record.replace('"epoch":"1"', '"epoch":"one"')], "Line 1: ")


async def test_a_file_that_is_too_large_is_refused(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, _ = await _a_full_session(redis_client)
    lines = await _exported(redis_client, session_id)
    monkeypatch.setattr("shared.store.transfer.MAX_IMPORT_BYTES", 5000)
    with pytest.raises(InvalidRequestError, match="export_too_large"):
        await import_session(redis_client, lines)
