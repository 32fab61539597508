"""Records written through `Commits` reach the log, whoever writes under the epoch."""

from __future__ import annotations

import redis.asyncio

from realtime_worker.commits import Commits
from realtime_worker.conversation.effects import Record, SetState
from shared.session.log import CommandReceived, ErrorRecorded
from shared.session.model import SessionState
from tests.integration.worker.in_process import WORKER, InProcess
from tests.support.scripted_provider import ScriptedProvider


async def test_whoever_ends_a_broken_session_is_not_taken_for_a_repetition_of_its_runner(
    redis_client: redis.asyncio.Redis,
) -> None:
    parts = InProcess(redis_client, ScriptedProvider())
    session_id = await parts.connecting_session()
    ownership = parts.services.ownership
    epoch = await ownership.acquire(session_id, WORKER)
    assert epoch is not None
    noted = CommandReceived(command="say", at_ms=1)
    broken = ErrorRecorded(source="worker", code="runner_broke", detail="", at_ms=2)
    await Commits(ownership, session_id, epoch).commit([Record(entry=noted)])
    await Commits(ownership, session_id, epoch).commit(
        [Record(entry=broken), SetState(state=SessionState.ENDED, reason="internal_error", at_ms=2)]
    )
    assert await parts.state(session_id) is SessionState.ENDED
    assert (await parts.entries(session_id))[-3:-1] == [noted, broken]
