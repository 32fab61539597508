"""One message that can't be delivered must not keep the others from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio

from realtime_worker.control_plane import ControlPlane
from shared.security.tokens import TokenRing
from shared.session.commands import Say
from shared.session.jobs import LifecycleEvent, StartDurableTool
from shared.store.scripts import MAX_INBOX_ENTRIES
from tests.integration.worker.in_process import WORKER, InProcess
from tests.integration.worker.stage import ControlPlaneStandIn
from tests.support.eventually import eventually
from tests.support.scripted_provider import ScriptedProvider


@asynccontextmanager
async def delivering(parts: InProcess, base_url: str) -> AsyncIterator[asyncio.Task[None]]:
    settings = parts.services.settings
    control_plane = ControlPlane(
        parts.services.outbox,
        parts.services.inbox,
        base_url,
        TokenRing(settings.signing_keys.get_secret_value()),
        WORKER,
    )
    task = asyncio.create_task(control_plane.deliver_forever())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_refused_tool_of_a_session_with_a_full_inbox_stops_no_other_message(
    redis_client: redis.asyncio.Redis,
) -> None:
    parts = InProcess(redis_client, ScriptedProvider())
    session_id = await parts.connecting_session()
    for number in range(MAX_INBOX_ENTRIES):
        await parts.services.inbox.put(session_id, Say(text=str(number)))
    stand_in = ControlPlaneStandIn()
    stand_in.refusals = [("tool-calls", 400)]
    await stand_in.start()
    try:
        async with delivering(parts, f"http://127.0.0.1:{stand_in.port}") as task:
            await parts.services.outbox.put(
                StartDurableTool(
                    session_id=session_id, tool_call_id="call_1", tool="book", arguments="{}", traceparent=""
                )
            )
            await eventually(lambda: not stand_in.refusals, what="the tool was refused")
            ended = LifecycleEvent(session_id=session_id, event="ended")
            await parts.services.outbox.put(ended)
            await eventually(lambda: stand_in.taken == [ended], within=5, what="the next message arrived")
            assert not task.done(), task
            # The refused one still waits for room in the inbox.

            async def one_is_left() -> bool:
                return await parts.services.outbox.depth() == 1

            await eventually(one_is_left, what="only the refused message is left")
    finally:
        await stand_in.stop()
