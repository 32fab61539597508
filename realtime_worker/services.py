"""What every session of a worker shares."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.recording.recorder import Recorder
from shared.agents.catalog import AgentCatalog
from shared.agents.source import AgentSource
from shared.providers.protocol import RealtimeProvider
from shared.session.model import Session, Transport
from shared.session.prices import TokenPrices
from shared.settings import WorkerSettings
from shared.store.attach_queue import AttachQueue
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.outbox import Outbox
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from shared.telephony.legs import CarrierLeg, unsupported

if TYPE_CHECKING:
    from shared.mcp.pool import McpPool


def no_carrier(session: Session) -> CarrierLeg:
    """Stand in for a carrier where none is set."""
    raise unsupported("restart media: set ACS_ENDPOINT or ACS_CONNECTION_STRING")


@dataclass(frozen=True, kw_only=True)
class Services:
    """Handles to the stores, the provider and the agents; made once a process.

    media_transports: those whose audio comes by carriers' media sockets to this worker; a session waits for
        its caller there.
    carrier_leg: the way to a session's call at its carrier; raises SidetoneError where there is none.
    mcp: the MCP servers that agents get tools from; None where no agent names one.
    source: where agents come from that change while the worker runs, in place of `catalog`.
    """

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
    media_transports: frozenset[Transport] = frozenset({Transport.ACS})
    carrier_leg: Callable[[Session], CarrierLeg] = no_carrier
    mcp: McpPool | None = None
    source: AgentSource | None = None

    async def agents(self, session: Session) -> AgentCatalog:
        """Return the agents for a session, of the version that it began with if that is still kept here, with
        the tools of their MCP servers."""
        catalog = self.catalog
        if self.source is not None:
            catalog = await asyncio.to_thread(self.source.of_version, session.agent, session.agent_version)
        return catalog if self.mcp is None else await self.mcp.equipped(catalog)

    def conversation(self, setup: ConversationSetup, transport: str) -> Conversation:
        """Return a new conversation; one that is recorded, where the worker records."""
        if self.recorder is None:
            return Conversation(setup)
        return self.recorder.conversation(setup, transport)


def now_ms() -> int:
    """Return Unix milliseconds."""
    return int(time.time() * 1000)
