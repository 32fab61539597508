"""What leaves a session's runner: nothing of a fenced owner, and at once what needs no record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest
import redis.asyncio

from realtime_worker.roster import Roster
from shared.errors import UnavailableError
from shared.session.commands import EndCall, InboxEntry, Say
from shared.session.log import LogEntry
from shared.session.model import SessionState, Standing, Usage
from shared.store.inbox import Inbox
from shared.store.ownership import Ownership
from shared.telemetry import metrics
from tests.integration.worker.in_process import WORKER, InProcess
from tests.support.eventually import eventually
from tests.support.scripted_provider import ScriptedProvider, ScriptedSocket


async def talking(parts: InProcess, roster: Roster) -> tuple[str, ScriptedSocket]:
    """Hold a new session until its greeting has been said."""
    session_id = await parts.connecting_session()
    roster.take(await parts.job(session_id))
    await parts.wait_state(session_id, SessionState.ACTIVE)
    (socket,) = parts.provider.sockets
    await eventually(lambda: "response.create" in socket.sent_types(), what="the greeting was asked for")
    request = socket.sent[-1]
    metadata = cast("dict[str, object]", request["response"])["metadata"]
    socket.say(type="response.created", response={"id": "resp_1", "metadata": metadata})
    socket.say(type="response.done", response={"id": "resp_1", "status": "completed"})
    return session_id, socket


class WatchedInbox(Inbox):
    """Tells that the reader has come back for more: what it got before is in the conversation."""

    delivered = False

    async def read(self, session_id: str, after: str, count: int = 50) -> list[InboxEntry]:
        self.delivered = self.delivered or after != "0-0"
        return await super().read(session_id, after, count)


async def test_a_fenced_owner_asks_the_service_for_nothing(redis_client: redis.asyncio.Redis) -> None:
    parts = InProcess(redis_client, ScriptedProvider())
    ownership = parts.services.ownership
    inbox = WatchedInbox(redis_client)
    roster = Roster(replace(parts.services, inbox=inbox))
    session_id, socket = await talking(parts, roster)
    socket.say(type="input_audio_buffer.speech_started", item_id="item_1")
    await parts.services.inbox.put(session_id, Say(text="One moment."))
    roster.wake(session_id)
    await eventually(lambda: inbox.delivered, what="the command waits for the caller to finish")
    await ownership.hand_over(session_id, roster.held[session_id])
    assert await ownership.acquire(session_id, "worker-2")
    before = socket.sent_types()
    socket.say(type="input_audio_buffer.speech_stopped")
    socket.say(type="response.created", response={"id": "resp_2"})
    socket.say(type="response.done", response={"id": "resp_2", "status": "cancelled"})
    await eventually(lambda: len(roster) == 0, what="the fenced owner has let go")
    assert socket.sent_types() == before


class AbsentOwnership(Ownership):
    """Takes no commits while `absent`."""

    absent = False
    tried = 0

    async def commit(
        self,
        session_id: str,
        epoch: int,
        *,
        entries: Sequence[LogEntry] = (),
        state: SessionState | None = None,
        reason: str = "",
        usage: Usage | None = None,
        inbox_cursor: str | None = None,
        standing: Standing | None = None,
        commit_id: str = "",
    ) -> list[str]:
        if self.absent:
            self.tried += 1
            raise UnavailableError("redis_unavailable", "Redis is away.")
        return await super().commit(
            session_id,
            epoch,
            entries=entries,
            state=state,
            reason=reason,
            usage=usage,
            inbox_cursor=inbox_cursor,
            standing=standing,
            commit_id=commit_id,
        )


async def test_a_sideband_lost_while_redis_is_away_is_configured_at_once(
    redis_client: redis.asyncio.Redis,
) -> None:
    ownership = AbsentOwnership(redis_client, lease_ttl_s=5)
    parts = InProcess(redis_client, ScriptedProvider(), ownership=ownership)
    roster = Roster(parts.services)
    session_id, socket = await talking(parts, roster)
    ownership.absent = True
    socket.say(
        type="conversation.item.input_audio_transcription.completed", item_id="item_1", transcript="Hello?"
    )
    await eventually(lambda: ownership.tried, what="a record waits for Redis")
    socket.hang_up()

    def configured_again() -> bool:
        return len(parts.provider.sockets) == 2 and bool(parts.provider.sockets[1].sent)

    await eventually(configured_again, what="the new sideband is configured")
    assert parts.provider.sockets[1].sent_types()[0] == "session.update"
    ownership.absent = False
    await eventually(lambda: roster.held, what=f"{WORKER} still holds it")
    assert await parts.state(session_id) is SessionState.ACTIVE
    await roster.hand_back()


async def test_an_end_is_counted_once_with_its_reason(
    redis_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[str, str]] = []
    monkeypatch.setattr(
        metrics, "count_session_ended", lambda *, transport, reason: counted.append((transport, reason))
    )
    parts = InProcess(redis_client, ScriptedProvider())
    roster = Roster(parts.services)
    session_id, _ = await talking(parts, roster)
    await parts.services.inbox.put(session_id, EndCall(reason="operator_ended"))
    roster.wake(session_id)
    await eventually(lambda: len(roster) == 0, what="the session is over")
    assert counted == [("webrtc", "operator_ended")]
