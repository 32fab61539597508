"""The parts of a worker in the test's own process: real Redis, real stores, a scripted provider."""

from __future__ import annotations

import base64
import time
from pathlib import Path

from redis.asyncio import Redis

from realtime_worker.services import Services
from shared.agents.catalog import load_agents
from shared.ids import new_session_id
from shared.session.jobs import AttachJob
from shared.session.log import LogEntry
from shared.session.model import Session, SessionState, Transport
from shared.settings import WorkerSettings
from shared.store.attach_queue import AttachQueue
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.outbox import Outbox
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from tests.support.eventually import eventually
from tests.support.scripted_provider import ScriptedProvider

DESK = Path(__file__).parents[2] / "support" / "desk_agents"
WORKER = "worker-1"


class InProcess:
    """What a worker's parts share, and how a test looks at what they did."""

    def __init__(
        self,
        redis: Redis,
        provider: ScriptedProvider,
        *,
        worker: str = WORKER,
        attach_queue: AttachQueue | None = None,
        ownership: Ownership | None = None,
    ) -> None:
        self.redis = redis
        self.provider = provider
        settings = WorkerSettings.model_validate(
            {
                "redis_url": "redis://127.0.0.1:6379/0",
                "azure_openai_endpoint": "https://provider.example",
                "agents_dir": str(DESK),
                "signing_keys": "k1:" + base64.b64encode(b"0123456789abcdef" * 2).decode(),
                "control_plane_url": "https://functions.example",
                "worker_id": worker,
                "lease_ttl_s": 5.0,
                "lease_renew_s": 1.0,
                "attach_timeout_s": 5.0,
            }
        )
        self.services = Services(
            settings=settings,
            provider=provider,
            catalog=load_agents(DESK),
            sessions=SessionStore(redis, retention_s=3600),
            event_log=EventLog(redis),
            ownership=ownership or Ownership(redis, lease_ttl_s=settings.lease_ttl_s),
            inbox=Inbox(redis),
            outbox=Outbox(redis),
            attach_queue=attach_queue or AttachQueue(redis),
        )
        self.log = EventLog(redis)

    async def connecting_session(self, *, agent: str = "desk") -> str:
        """Create a session whose call waits for a worker; return its id."""
        session_id = new_session_id()
        await self.services.sessions.create(
            Session(
                session_id=session_id,
                state=SessionState.CREATED,
                transport=Transport.WEBRTC,
                agent=agent,
                agent_version="1",
                principal="test",
                created_at_ms=int(time.time() * 1000),
            )
        )
        await self.services.sessions.report_call(session_id, f"rtc_{session_id}", "scripted")
        return session_id

    async def job(self, session_id: str) -> AttachJob:
        """Queue the session and claim its job, as a worker's claim loop does."""
        await self.services.attach_queue.enqueue(session_id, "")
        (job,) = await self.services.attach_queue.claim(self.services.settings.worker_id, 1, 0)
        return job

    async def entries(self, session_id: str) -> list[LogEntry]:
        return [one.entry for one in await self.log.read(session_id, limit=500)]

    async def state(self, session_id: str) -> SessionState:
        return (await self.services.sessions.get(session_id)).state

    async def wait_state(self, session_id: str, state: SessionState) -> None:
        async def reached() -> bool:
            return await self.state(session_id) is state

        await eventually(reached, within=5, what=f"{session_id} is {state.value}")
