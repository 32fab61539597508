"""Leases outlive a short absence of Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import redis.asyncio

from realtime_worker.loops import renew_forever
from realtime_worker.roster import Roster
from shared.session.model import SessionState
from shared.store.connection import connect
from shared.store.keys import LEASES_EXPIRY
from tests.integration.worker.in_process import InProcess
from tests.support.eventually import eventually
from tests.support.scripted_provider import ScriptedProvider
from tests.support.tcp_proxy import TcpProxy


async def test_a_renewal_that_failed_is_repeated_soon(
    redis_client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    port = redis_client.connection_pool.connection_kwargs["port"]
    async with TcpProxy(port) as proxy:
        settings = InProcess(redis_client, ScriptedProvider()).services.settings
        line = connect(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{proxy.port}/0"}))
        parts = InProcess(line, ScriptedProvider())
        services = replace(
            parts.services, settings=parts.services.settings.model_copy(update={"lease_renew_s": 2.5})
        )
        roster = Roster(services)
        session_id = await parts.connecting_session()
        roster.take(await parts.job(session_id))
        await parts.wait_state(session_id, SessionState.ACTIVE)

        async def settled() -> bool:
            return await parts.services.attach_queue.depth() == 0

        # A connection that is being opened while the line is cut would survive the cut.
        await eventually(settled, what="nothing else is under way")
        await proxy.cut()
        clock = asyncio.get_running_loop().time
        renewing = asyncio.create_task(renew_forever(services, roster))
        try:
            before = await redis_client.zscore(LEASES_EXPIRY, session_id)
            await eventually(lambda: "leases not renewed" in caplog.text, what="a renewal has failed")
            await proxy.mend()
            mended = clock()

            async def renewed() -> bool:
                return await redis_client.zscore(LEASES_EXPIRY, session_id) != before

            await eventually(renewed, within=5, what="the lease was renewed")
            assert clock() - mended < services.settings.lease_renew_s * 0.8
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            await roster.hand_back()
            await line.aclose()
