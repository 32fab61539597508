"""A worker's reception with a real Redis, real sockets on both sides, and nothing else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import redis.asyncio
from aiohttp import web

from realtime_worker.media.carriers import Carrier, carriers
from realtime_worker.media.reception import Reception
from realtime_worker.roster import Roster
from shared.ids import new_session_id
from shared.providers.credentials import ApiKey
from shared.providers.realtime_api import RealtimeApi
from shared.security.tokens import TokenRing
from shared.session.model import Session, SessionState, Transport
from shared.telephony.legs import CarrierLeg
from tests.integration.worker.in_process import InProcess
from tests.support.acs_signer import RESOURCE_ID, AcsSigner
from tests.support.echo_service import EchoService
from tests.support.eventually import eventually
from tests.support.phone_caller import PhoneCaller, media_url


class Worker:
    """One worker, its service, and the carrier that signs."""

    def __init__(self, parts: InProcess, roster: Roster, base: str, signer: AcsSigner) -> None:
        self.parts = parts
        self.roster = roster
        self.base = base
        self.signer = signer
        self.keys = parts.services.settings.signing_keys.get_secret_value()

    async def session(
        self, *, transport: Transport = Transport.ACS, agent: str = "desk", call_id: str = ""
    ) -> str:
        """Create a session whose call is being answered; return its id."""
        session = Session(
            session_id=new_session_id(),
            state=SessionState.CREATED,
            transport=transport,
            agent=agent,
            agent_version="1",
            principal="test",
            created_at_ms=int(time.time() * 1000),
            call_id=call_id,
        )
        await self.parts.services.sessions.create(session)
        return session.session_id

    def url(self, session_id: str) -> str:
        return media_url(self.base, session_id, self.keys)

    async def dial(self, session_id: str, *, rate: int = 24_000) -> PhoneCaller:
        return await PhoneCaller.dial(self.url(session_id), self.signer, rate=rate)

    async def talking(self, session_id: str) -> None:
        """Wait until the session is active."""
        await self.parts.wait_state(session_id, SessionState.ACTIVE)


@asynccontextmanager
async def working(
    client: redis.asyncio.Redis,
    service: EchoService,
    signer: AcsSigner,
    *,
    own_carriers: Sequence[Carrier] = (),
    leg: Callable[[Session], CarrierLeg] | None = None,
    media_wait_s: float = 0.3,
    configured: bool = True,
) -> AsyncIterator[Worker]:
    """Run a worker's part for media until the block ends."""
    key = ApiKey(value="k", azure=True)
    provider = RealtimeApi(
        name="azure_openai", base_url=f"{service.url}/openai/v1", credential=key, model="voice"
    )
    parts = InProcess(client, provider)  # type: ignore[arg-type]  # a real provider for once
    settings = parts.services.settings.model_copy(
        update={
            "acs_resource_id": RESOURCE_ID if configured else "",
            "acs_keys_url": signer.keys_url,
            "media_wait_s": media_wait_s,
        }
    )
    taken = own_carriers or carriers(settings)
    parts.services = replace(
        parts.services,
        settings=settings,
        media_transports=frozenset(carrier.transport for carrier in taken),
        **({"carrier_leg": leg} if leg else {}),
    )
    roster = Roster(parts.services)
    tokens = TokenRing(settings.signing_keys.get_secret_value())
    app = web.Application()
    app.add_routes(Reception(parts.services, roster, tokens, taken).routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Worker(parts, roster, f"ws://127.0.0.1:{runner.addresses[0][1]}", signer)
    finally:
        await roster.hand_back()
        await eventually(lambda: len(roster) == 0, what="the worker lets go of its sessions")
        await runner.cleanup()
        await provider.close()
