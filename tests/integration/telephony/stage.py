"""One stage for phone calls: the app, Redis, the carrier, and what the tests look at afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from shared.security.tokens import TokenRing
from shared.session.commands import Command
from shared.session.log import CallEvent, CallEventKind, LogEntry
from shared.session.model import Session, SessionState
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.sessions import SessionStore
from tests.integration.functions.api_client import Api
from tests.integration.telephony.media_endpoint import MediaEndpoint
from tests.support.carrier_line import CarrierLine
from tests.support.eventually import eventually
from tests.support.stack import RunningFunctions, Stack

AGENTS = Path(__file__).parent / "agents"


@dataclass(kw_only=True)
class Stage:
    """Everything that a test of phone calls needs."""

    stack: Stack
    functions: RunningFunctions
    line: CarrierLine
    media: MediaEndpoint
    redis: Redis
    ring: TokenRing

    @property
    def store(self) -> SessionStore:
        return SessionStore(self.redis, retention_s=3600)

    @property
    def api(self) -> Api:
        return Api.application(self.functions)

    async def sessions(self) -> list[Session]:
        return (await self.store.page(200)).sessions

    async def sessions_of(self, call_id: str) -> list[Session]:
        return [session for session in await self.sessions() if session.call_id == call_id]

    async def session_of(self, call_id: str) -> Session:
        """Wait for the one session whose call this is."""
        await eventually(lambda: self.sessions_of(call_id), what=f"a session of {call_id}")
        (session,) = await self.sessions_of(call_id)
        return session

    async def becomes(self, session_id: str, state: SessionState) -> Session:
        async def there() -> Session | None:
            session = await self.store.get(session_id)
            return session if session.state is state else None

        session = await eventually(there, what=f"{session_id} becomes {state}")
        assert session is not None
        return session

    async def log(self, session_id: str) -> list[LogEntry]:
        return [logged.entry for logged in await EventLog(self.redis).read_all(session_id)]

    async def events(self, session_id: str) -> list[CallEvent]:
        return [entry for entry in await self.log(session_id) if isinstance(entry, CallEvent)]

    async def kinds(self, session_id: str) -> list[CallEventKind]:
        return [event.event for event in await self.events(session_id)]

    async def event(self, session_id: str, kind: CallEventKind) -> CallEvent:
        """Wait for the first event of a kind."""

        async def found() -> CallEvent | None:
            return next((event for event in await self.events(session_id) if event.event is kind), None)

        event = await eventually(found, what=f"{kind} in {session_id}")
        assert event is not None
        return event

    async def inbox(self, session_id: str) -> list[Command]:
        return [entry.command for entry in await Inbox(self.redis).read(session_id, "0-0")]

    def logged(self, message: str, **fields: object) -> list[dict[str, Any]]:
        """Return the records of the app's log with this message and these fields."""
        found: list[dict[str, Any]] = []
        for line in self.functions.log.read_text(encoding="utf-8").splitlines():
            at = line.find("{")
            try:
                record = json.loads(line[at:]) if at >= 0 else {}
            except ValueError:
                continue
            if record.get("message") == message and fields.items() <= record.items():
                found.append(record)
        return found

    async def record(self, message: str, **fields: object) -> dict[str, Any]:
        """Wait for a record of the app's log."""
        found = await eventually(lambda: self.logged(message, **fields), what=f"{message} {fields} is logged")
        return found[0]
