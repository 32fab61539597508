"""What the handlers need, made on first use and once for each event loop; nothing is made at import."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.agents.catalog import AgentCatalog
    from shared.agents.router import Router
    from shared.agents.source import AgentSource
    from shared.providers.protocol import RealtimeProvider
    from shared.security.acs_tokens import AcsTokenVerifier
    from shared.security.tokens import TokenRing
    from shared.security.webhook_signatures import WebhookVerifier
    from shared.settings import ControlPlaneSettings
    from shared.store.approvals import Approvals
    from shared.store.attach_queue import AttachQueue
    from shared.store.deliveries import Deliveries
    from shared.store.event_log import EventLog
    from shared.store.inbox import Inbox
    from shared.store.limits import Limits
    from shared.store.sessions import SessionStore
    from shared.store.workers import WorkerRegistry
    from shared.telephony.acs.carrier import AcsCarrier
    from shared.telephony.policy import InboundPolicy

ROLE = "control-plane"


@dataclass(kw_only=True)
class Dependencies:
    """The control plane's settings, stores and services.

    webhooks: None where no secret is set. acs, acs_tokens: None without Communication Services.
    """

    settings: ControlPlaneSettings
    redis: Redis
    sessions: SessionStore
    log: EventLog
    inbox: Inbox
    attach_queue: AttachQueue
    limits: Limits
    workers: WorkerRegistry
    deliveries: Deliveries
    approvals: Approvals
    tokens: TokenRing
    webhooks: WebhookVerifier | None
    provider: RealtimeProvider
    acs: AcsCarrier | None = None
    acs_tokens: AcsTokenVerifier | None = None
    _source: AgentSource | None = field(default=None, repr=False)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _inbound_policy: tuple[AgentCatalog, InboundPolicy] | None = field(default=None, repr=False)
    _router: tuple[AgentCatalog, Router] | None = field(default=None, repr=False)

    async def agents(self) -> AgentCatalog:
        """Return the agents, read from their directory on first use; where `agents_reload` is set, again
        when they have changed. Raises `agent_invalid`.
        """
        source = self._source
        if source is not None and not self.settings.agents_reload:
            return source.newest
        async with self._reading:
            if self._source is None:
                self._source = await asyncio.to_thread(_read_agents, self.settings)
            return await asyncio.to_thread(self._source.current)

    async def inbound_policy(self) -> InboundPolicy:
        """Return who is answered by whom, read on first use and with the agents.

        Raises `telephony_policy_invalid`, `agent_invalid`.
        """
        agents = await self.agents()
        if self._inbound_policy is None or self._inbound_policy[0] is not agents:
            policy = await asyncio.to_thread(_load_policy, self.settings.agents_dir, agents)
            self._inbound_policy = agents, policy
        return self._inbound_policy[1]

    async def router(self) -> Router:
        """Return the rules for who answers, read on first use and with the agents. Raises `agent_invalid`."""
        agents = await self.agents()
        if self._router is None or self._router[0] is not agents:
            self._router = agents, await asyncio.to_thread(_load_router, self.settings.agents_dir, agents)
        return self._router[1]


_background: set[asyncio.Task[None]] = set()
_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Dependencies]] = WeakKeyDictionary()


async def dependencies() -> Dependencies:
    """Return the running event loop's dependencies.

    Raises SettingsError; the next call then tries again, so that a Key Vault that was late does
    not need a restart.
    """
    loop = asyncio.get_running_loop()
    making = _of_loop.get(loop)
    if making is None or (making.done() and (making.cancelled() or making.exception() is not None)):
        making = loop.create_task(_make())
        _of_loop[loop] = making
    return await asyncio.shield(making)


async def _make() -> Dependencies:
    # Imports, files and a Key Vault block: off the event loop, other requests go on meanwhile.
    settings = await asyncio.to_thread(_prepare_process)

    from shared.providers import make_provider
    from shared.security.tokens import TokenRing
    from shared.store.approvals import Approvals
    from shared.store.attach_queue import AttachQueue
    from shared.store.connection import connect
    from shared.store.deliveries import Deliveries
    from shared.store.event_log import EventLog
    from shared.store.inbox import Inbox
    from shared.store.limits import Limits
    from shared.store.sessions import SessionStore
    from shared.store.workers import WorkerRegistry

    redis = connect(settings)
    provider = make_provider(settings)
    tokens = TokenRing(settings.signing_keys.get_secret_value())
    acs = _acs(settings, tokens)
    # Beside the first request, not within it: importing an SDK takes about a second.
    _in_background(provider.warm_up())
    if acs is not None:
        _in_background(acs.warm_up())
    return Dependencies(
        settings=settings,
        redis=redis,
        sessions=SessionStore(redis, retention_s=settings.session_retention_s),
        log=EventLog(redis),
        inbox=Inbox(redis),
        attach_queue=AttachQueue(redis),
        limits=Limits(redis),
        workers=WorkerRegistry(redis),
        deliveries=Deliveries(redis),
        approvals=Approvals(redis, retention_s=settings.session_retention_s),
        tokens=tokens,
        webhooks=_webhooks(settings),
        provider=provider,
        acs=acs,
        acs_tokens=_acs_tokens(settings),
    )


def _in_background(work: Coroutine[object, object, None]) -> None:
    task = asyncio.create_task(work, name="warm-up")
    _background.add(task)
    task.add_done_callback(_background.discard)


def _prepare_process() -> ControlPlaneSettings:
    importlib.import_module("shared.store.sessions")  # brings redis, which takes a while

    from shared.settings import ControlPlaneSettings, load_settings
    from shared.telemetry.logs import configure_logging
    from shared.telemetry.setup import configure_telemetry

    settings = load_settings(ControlPlaneSettings)
    configure_logging(settings.log_level, role=ROLE)
    configure_telemetry(settings, role=ROLE)
    return settings


def _read_agents(settings: ControlPlaneSettings) -> AgentSource:
    from shared.agents.source import AgentSource

    return AgentSource(settings.agents_dir, reload=settings.agents_reload)


def _load_router(directory: str, agents: AgentCatalog) -> Router:
    from shared.agents.router_file import load_router

    return load_router(directory, agents)


def _load_policy(directory: str, agents: AgentCatalog) -> InboundPolicy:
    from shared.telephony.policy_file import load_policy

    return load_policy(directory, agents)


def _webhooks(settings: ControlPlaneSettings) -> WebhookVerifier | None:
    from shared.security.webhook_secrets import parse_webhook_secrets
    from shared.security.webhook_signatures import WebhookVerifier

    secrets = settings.realtime_webhook_secrets
    return WebhookVerifier(parse_webhook_secrets(secrets.get_secret_value())) if secrets else None


def _acs(settings: ControlPlaneSettings, tokens: TokenRing) -> AcsCarrier | None:
    from functools import partial

    from functions.carriers import addresses_of
    from shared.setting_values import parse_acs_connection_string
    from shared.telephony.acs.carrier import AcsAccount, AcsCarrier

    endpoint, key = settings.acs_endpoint, ""
    if settings.acs_connection_string is not None:
        endpoint, key = parse_acs_connection_string(settings.acs_connection_string.get_secret_value())
    if not endpoint:
        return None
    account = AcsAccount(
        endpoint=endpoint,
        key=key,
        phone_number=settings.acs_phone_number,
        recording_container=settings.acs_recording_container,
    )
    return AcsCarrier(account, partial(addresses_of, settings, tokens))


def _acs_tokens(settings: ControlPlaneSettings) -> AcsTokenVerifier | None:
    from shared.security.acs_tokens import AcsTokenVerifier
    from shared.security.key_set import KeySet

    if not settings.acs_resource_id:
        return None
    keys = KeySet(settings.acs_keys_url)
    return AcsTokenVerifier(issuer=settings.acs_token_issuer, resource_id=settings.acs_resource_id, keys=keys)
