"""A worker's standing work goes on after faults that nobody foresaw."""

from __future__ import annotations

import pytest

from shared.session.model import SessionState
from shared.store.keys import ATTACH_STREAM, OUTBOX_STREAM
from tests.integration.worker.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_queues_that_expire_under_a_waiting_worker_cost_no_call(stage: Stage) -> None:
    """They do so after a week without a call; Redis answers the waiting reads with an error."""
    session_id, _ = await stage.talk()
    await stage.redis.delete(ATTACH_STREAM, OUTBOX_STREAM)
    another, _ = await stage.place_call()
    await stage.wait_state(another, SessionState.ACTIVE)
    assert (await stage.sessions.get(session_id)).state is SessionState.ACTIVE
    assert stage.worker is not None
    assert stage.worker.process.returncode is None
