"""What every session of a worker shares."""

from __future__ import annotations

import time
from dataclasses import dataclass

from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.recording.recorder import Recorder
from shared.agents.catalog import AgentCatalog
from shared.providers.protocol import RealtimeProvider
from shared.session.prices import TokenPrices
from shared.settings import WorkerSettings
from shared.store.attach_queue import AttachQueue
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.outbox import Outbox
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore


@dataclass(frozen=True, kw_only=True)
class Services:
    """Handles to the stores, the provider and the agents; made once a process."""

    settings: WorkerSettings
    provider: RealtimeProvider
    catalog: AgentCatalog
    sessions: SessionStore
    event_log: EventLog
    ownership: Ownership
    inbox: Inbox
    outbox: Outbox
    attach_queue: AttachQueue
    prices: TokenPrices | None = None
    recorder: Recorder | None = None

    def conversation(self, setup: ConversationSetup, transport: str) -> Conversation:
        """Return a new conversation; one that is recorded, where the worker records."""
        if self.recorder is None:
            return Conversation(setup)
        return self.recorder.conversation(setup, transport)


def now_ms() -> int:
    """Return Unix milliseconds."""
    return int(time.time() * 1000)
