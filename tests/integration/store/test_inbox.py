from __future__ import annotations

import asyncio
import logging

import pytest
from redis.asyncio import Redis

from shared.errors import ConflictError
from shared.session.commands import Command, EndCall, Say, ToolResult
from shared.session.log import ToolStatus
from shared.session.model import SessionState
from shared.store.inbox import Inbox
from shared.store.keys import SessionKeys
from shared.store.ownership import Ownership
from shared.store.scripts import MAX_INBOX_ENTRIES
from tests.integration.store.examples import a_stored_session, an_owned_session


async def test_commands_are_read_in_order_from_the_cursor_on(redis_client: Redis) -> None:
    inbox = Inbox(redis_client)
    session_id = await a_stored_session(redis_client)
    commands: list[Command] = [
        Say(text="Grüße"),
        ToolResult(tool_call_id="c1", status=ToolStatus.OK, output="{}", duration_ms=2.5),
        EndCall(reason="operator_ended", goodbye="Bye"),
    ]
    ids = [await inbox.put(session_id, command, traceparent=f"tp{n}") for n, command in enumerate(commands)]
    read = await inbox.read(session_id, "0-0")
    assert [entry.command for entry in read] == commands
    assert [entry.entry_id for entry in read] == ids
    assert [entry.traceparent for entry in read] == ["tp0", "tp1", "tp2"]
    assert [e.command for e in await inbox.read(session_id, ids[0], count=1)] == [commands[1]]
    assert await inbox.read(session_id, ids[2]) == []


async def test_a_command_with_a_known_dedupe_key_is_not_stored_again(redis_client: Redis) -> None:
    inbox = Inbox(redis_client)
    session_id, other = await a_stored_session(redis_client), await a_stored_session(redis_client)
    ids = await asyncio.gather(
        *(inbox.put(session_id, Say(text=str(n)), dedupe="result:c1") for n in range(8))
    )
    assert sum(1 for i in ids if i) == 1
    assert len(await inbox.read(session_id, "0-0")) == 1
    assert await inbox.put(session_id, Say(text="x"), dedupe="result:c2")
    assert await inbox.put(other, Say(text="x"), dedupe="result:c1")
    assert await inbox.put(session_id, Say(text="same"))
    assert await inbox.put(session_id, Say(text="same"))
    assert len(await inbox.read(session_id, "0-0")) == 4


async def test_a_full_inbox_refuses_and_loses_nothing_then_makes_room_for_what_is_applied(
    redis_client: Redis,
) -> None:
    inbox = Inbox(redis_client)
    session_id, epoch = await an_owned_session(redis_client)
    ids = [await inbox.put(session_id, Say(text=str(n))) for n in range(MAX_INBOX_ENTRIES)]
    with pytest.raises(ConflictError, match="inbox_full"):
        await inbox.put(session_id, Say(text="one too many"))
    assert len(await inbox.read(session_id, "0-0", count=5000)) == MAX_INBOX_ENTRIES
    ownership = Ownership(redis_client, lease_ttl_s=5)
    await ownership.commit(session_id, epoch, inbox_cursor=ids[600])
    assert await inbox.put(session_id, Say(text="now there is room"))
    left = await inbox.read(session_id, ids[600], count=5000)
    assert len(left) == MAX_INBOX_ENTRIES - 601 + 1
    assert await redis_client.xlen(SessionKeys(session_id).inbox) <= 401


async def test_a_command_of_another_version_is_logged_and_does_not_block_the_rest(
    redis_client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox(redis_client)
    session_id = await a_stored_session(redis_client)
    strange = {"command": '{"type":"sing","secret":"la la"}', "traceparent": ""}
    for _ in range(3):
        await redis_client.xadd(SessionKeys(session_id).inbox, strange)
    await inbox.put(session_id, Say(text="known"))
    with caplog.at_level(logging.ERROR):
        read = await inbox.read(session_id, "0-0", count=2)
    assert [entry.command for entry in read] == [Say(text="known")]
    assert "does not decode" in caplog.text
    assert "la la" not in caplog.text


async def test_an_ended_session_still_takes_commands_but_wakes_nobody(redis_client: Redis) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    ownership = Ownership(redis_client, lease_ttl_s=5)
    await ownership.commit(session_id, epoch, state=SessionState.ENDED, reason="agent_ended")
    await ownership.release(session_id, epoch)
    assert await Inbox(redis_client).put(session_id, Say(text="late"))
