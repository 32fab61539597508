"""The worker process: start what it needs, do the standing work, stop without dropping a call."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine

from aiohttp import web

from realtime_worker.control_plane import ControlPlane
from realtime_worker.hand_over import HandOver
from realtime_worker.health import Demand, WorkerStatus, health_app, load_route
from realtime_worker.loops import (
    REPORTED_FOR_S,
    claim_forever,
    keep_going,
    listen_forever,
    renew_forever,
    report_forever,
    sweep_forever,
)
from realtime_worker.mcp_servers import connect_servers
from realtime_worker.media.carriers import acs_calls, carriers
from realtime_worker.media.reception import Reception
from realtime_worker.recording.recorder import Recorder
from realtime_worker.roster import Roster
from realtime_worker.services import Services, no_carrier
from shared.agents.catalog import AgentCatalog
from shared.agents.source import AgentSource
from shared.errors import SidetoneError, UnavailableError
from shared.providers import make_provider
from shared.providers.protocol import RealtimeProvider
from shared.security.tokens import TokenRing
from shared.session.prices import EXAMPLE_PRICES, TokenPrices, parse_prices
from shared.settings import SettingsError, WorkerSettings
from shared.store.attach_queue import AttachQueue
from shared.store.command_pipe import CommandPipe
from shared.store.connection import answered, connect
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox, WakeUps
from shared.store.outbox import Outbox
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from shared.store.workers import WorkerRegistry
from shared.telemetry import metrics
from shared.telemetry.logs import get_logger
from shared.tools.http_client import close_http_client

_log = get_logger(__name__)


async def run_worker(settings: WorkerSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises SidetoneError when the worker can't start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    source = AgentSource(settings.agents_dir, reload=settings.agents_reload)
    catalog = source.newest
    prices = parse_prices(settings.token_prices)
    _need_prices(catalog, prices)
    redis = connect(settings)
    pipe = CommandPipe(redis)
    provider = make_provider(settings, ping_s=settings.provider_ping_s)
    media_carriers, calls = carriers(settings), acs_calls(settings)
    mcp = await connect_servers(settings, catalog)
    services = Services(
        settings=settings,
        provider=provider,
        catalog=catalog,
        source=source if settings.agents_reload else None,
        sessions=SessionStore(redis, retention_s=settings.session_retention_s),
        event_log=EventLog(redis),
        ownership=Ownership(redis, lease_ttl_s=settings.lease_ttl_s, commits_through=pipe),
        inbox=Inbox(redis),
        outbox=Outbox(redis),
        attach_queue=AttachQueue(redis),
        prices=prices,
        recorder=Recorder.from_settings(settings),
        media_transports=frozenset(carrier.transport for carrier in media_carriers),
        carrier_leg=calls.leg if calls is not None else no_carrier,
        mcp=mcp,
    )
    roster = Roster(services)
    metrics.observe_live_sessions(lambda: len(roster))
    registry = WorkerRegistry(redis)
    tokens = TokenRing(settings.signing_keys.get_secret_value())
    control_plane = ControlPlane(
        services.outbox, services.inbox, settings.control_plane_url, tokens, settings.worker_id
    )

    def status() -> WorkerStatus:
        return WorkerStatus(
            worker=settings.worker_id,
            sessions=len(roster),
            capacity=settings.max_sessions,
            accepting=not stop.is_set(),
        )

    async def reach_redis() -> None:
        await answered(redis.execute_command("PING"))

    async def demand() -> Demand:
        return Demand(held=await services.ownership.count(), waiting=await services.attach_queue.depth())

    face = health_app(status, reach_redis, figures=settings.scale_key is None)
    if settings.scale_key is not None:
        key = settings.scale_key.get_secret_value()
        face.add_routes([load_route(key, settings.spare_sessions, demand)])
    face.add_routes(Reception(services, roster, tokens, media_carriers).routes())
    runner = web.AppRunner(face, access_log=None)
    try:
        await reach_redis()
        await _listen(runner, settings)
        # Imported modules never become garbage: keep full collections from walking over them.
        gc.collect()
        gc.freeze()
        # Events and log entries are no cycles and go by themselves; looking after each 700 objects whether
        # there are some takes a tenth of the worker's time.
        gc.set_threshold(10_000, 20, 20)
        async with asyncio.TaskGroup() as tasks:

            def keep(name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
                return tasks.create_task(keep_going(name, work), name=name)

            claiming = [
                keep("claim", lambda: claim_forever(services, roster)),
                keep("sweep", lambda: sweep_forever(services, roster)),
            ]
            reporting = keep("report", lambda: report_forever(services, registry, roster))
            standing = [
                keep("renew", lambda: renew_forever(services, roster)),
                keep("listen", lambda: listen_forever(lambda: WakeUps(redis, settings.worker_id), roster)),
                keep("outbox", control_plane.deliver_forever),
                tasks.create_task(check_provider(provider), name="check provider"),
            ]
            # Before we say that we are ready: the control plane starts calls only where a worker has room.
            with contextlib.suppress(UnavailableError):
                await registry.beat(settings.worker_id, 0, settings.max_sessions, ttl_s=REPORTED_FOR_S)
            print(f"ready http://127.0.0.1:{settings.worker_port}", flush=True)  # noqa: T201  # for supervisors
            _log.info("worker ready", extra={"worker": settings.worker_id, "agents": list(catalog.names)})
            await stop.wait()
            _log.info("worker stopping", extra={"sessions": len(roster)})
            for task in [*claiming, reporting]:
                task.cancel()
            await asyncio.wait([reporting])
            with contextlib.suppress(UnavailableError):
                await registry.leave(settings.worker_id)  # no call starts for us, nobody hands us one over
            await HandOver(roster, services, registry).run(settings.drain_s)
            for task in standing:
                task.cancel()
    finally:
        await runner.cleanup()
        await provider.close()
        if calls is not None:
            await calls.close()
        if mcp is not None:
            await mcp.close()
        await close_http_client()
        await pipe.close()
        await redis.aclose()
        if services.recorder is not None:
            await asyncio.to_thread(services.recorder.close)
    _log.info("worker stopped")


async def check_provider(provider: RealtimeProvider) -> None:
    """Say at the start what the first call would find out: a wrong address, role or deployment.

    It keeps nobody from starting: a role that was just given is not known everywhere for some minutes.
    """
    try:
        await provider.check()
    except SidetoneError as error:
        _log.error("model service cannot be used", extra={"code": error.code, "detail": error.detail})
    except Exception:
        _log.exception("model service could not be checked")


def _need_prices(catalog: AgentCatalog, prices: TokenPrices | None) -> None:
    """A cost limit that nothing counts would be no limit."""
    limited = [name for name in catalog.names if catalog.get(name).limits.max_cost is not None]
    if limited and prices is None:
        raise SettingsError(
            (
                f"TOKEN_PRICES: is missing, and max_cost limits {', '.join(limited)}. "
                f"Example: TOKEN_PRICES={EXAMPLE_PRICES}",
            )
        )


async def _listen(runner: web.AppRunner, settings: WorkerSettings) -> None:
    await runner.setup()
    site = web.TCPSite(runner, settings.worker_host, settings.worker_port)
    try:
        await site.start()
    except OSError as error:
        raise SidetoneError(
            "port_taken",
            f"Port {settings.worker_port} is taken: stop what uses it, or set WORKER_PORT to a free one.",
        ) from error


def main() -> int:
    """Run the worker; return the process's exit code. Expected failures are one sentence on stderr."""
    from shared.settings import load_settings
    from shared.telemetry.logs import configure_logging
    from shared.telemetry.setup import configure_telemetry, shutdown_telemetry

    try:
        settings = load_settings(WorkerSettings)
        configure_logging(settings.log_level, role="realtime-worker")
        configure_telemetry(settings, role="realtime-worker")
        with contextlib.suppress(KeyboardInterrupt):
            _run(run_worker(settings))
    except SidetoneError as error:
        print(error.detail, file=sys.stderr)  # noqa: T201  # the operator's first line
        return 2
    finally:
        shutdown_telemetry()
    return 0


def _run(main_coroutine: Coroutine[object, object, None]) -> None:
    """Run on uvloop where it is installed: a third less CPU an event."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main_coroutine)
    else:
        uvloop.run(main_coroutine)
