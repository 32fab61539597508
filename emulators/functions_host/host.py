"""Put a host together and run it: settings, app, durable engine, timers, two HTTP endpoints."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from emulators.functions_host.app_functions import AppFunctions
from emulators.functions_host.app_model import SERVED_TRIGGERS, Executor, Function
from emulators.functions_host.disabled import is_disabled
from emulators.functions_host.durable.client_payload import RPC_PATH, ManagementUrls
from emulators.functions_host.durable.engine import Engine
from emulators.functions_host.durable.management_api import ManagementApi
from emulators.functions_host.durable.store import Store
from emulators.functions_host.host_settings import HostSettings
from emulators.functions_host.invoker import Invoker
from emulators.functions_host.keys import Keys, load_keys
from emulators.functions_host.routing import Router
from emulators.functions_host.timers import TimerService, timer_functions
from emulators.functions_host.web_server import Served, WebServer, rpc_application

logger = logging.getLogger("functions_host")

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class HostOptions:
    """How to run an app."""

    app_dir: Path
    db: Path
    keys_file: Path | None
    """None: keys are not checked."""
    cors: Sequence[str]
    settings: HostSettings


class Host:
    """One running function app."""

    def __init__(self, options: HostOptions, executor: Executor, listener: socket.socket) -> None:
        """`listener` is bound already, so that the app can be told its own address."""
        self._options = options
        self._executor = executor
        self._listener = listener
        self._cleanup = contextlib.AsyncExitStack()
        self.functions: Sequence[Function] = ()

    @property
    def origin(self) -> str:
        host, port = self._listener.getsockname()[:2]
        return f"http://{_LOOPBACK if host == '0.0.0.0' else host}:{port}"

    async def start(self) -> None:
        """Load the app and serve it. Raises AppLoadError, KeysError, StoreError."""
        settings = self._options.settings
        os.environ.setdefault("WEBSITE_HOSTNAME", self.origin.removeprefix("http://"))
        self.functions = [f for f in await self._executor.load() if not is_disabled(f.name)]
        functions = AppFunctions(self.functions)
        http_functions = functions.with_trigger("httpTrigger")
        router = Router(http_functions, settings.route_prefix)
        timers = timer_functions(functions.with_trigger("timerTrigger"))
        keys = self._keys(http_functions)
        rpc_socket = listen(_LOOPBACK, 0)
        self._cleanup.callback(rpc_socket.close)
        urls = ManagementUrls(
            hub_name=settings.hub_name, system_key=keys.system["durabletask_extension"] if keys else None
        )
        payload = urls.client_payload(
            self.origin, f"http://{_LOOPBACK}:{rpc_socket.getsockname()[1]}{RPC_PATH}/"
        )
        invoker = Invoker(self._executor, timeout=settings.function_timeout, client_payload=lambda: payload)
        store = Store(self._options.db)
        await store.open()
        self._cleanup.push_async_callback(store.close)
        engine = Engine(
            store,
            functions,
            invoker,
            max_activities=settings.max_activities,
            max_orchestrators=settings.max_orchestrators,
        )
        self._cleanup.push_async_callback(engine.close)
        timer_service = TimerService(timers, invoker, store)
        self._cleanup.push_async_callback(timer_service.close)
        api = ManagementApi(engine, urls)
        server = WebServer(
            Served(
                functions=functions,
                router=router,
                invoker=invoker,
                api=api,
                timers=timer_service,
                keys=keys,
                cors=self._options.cors,
            )
        )
        self._cleanup.push_async_callback(server.close)
        await self._serve(rpc_application(api, RPC_PATH, self.origin), rpc_socket)
        await engine.start()
        timer_service.start()
        await self._serve(server.application(), self._listener)
        self._warn_of_what_is_not_served()

    async def close(self) -> None:
        """Stop everything; idempotent."""
        await self._cleanup.aclose()
        await self._executor.close()

    def route_list(self) -> Sequence[str]:
        """Return one line per function: its trigger, and for HTTP its methods and URL."""
        router = Router(
            [f for f in self.functions if f.trigger_type == "httpTrigger"],
            self._options.settings.route_prefix,
        )
        routes = {
            r.function.name: f"[{','.join(sorted(r.methods))}] {self.origin}/{r.template}"
            for r in router.routes
        }
        ordered = sorted(self.functions, key=lambda f: f.name.casefold())
        return [f"{f.name}: {f.trigger_type} {routes.get(f.name, '')}".rstrip() for f in ordered]

    def _keys(self, http_functions: Sequence[Function]) -> Keys | None:
        if self._options.keys_file is None:
            return None
        return load_keys(self._options.keys_file, [f.name for f in http_functions])

    async def _serve(self, application: web.Application, listener: socket.socket) -> None:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5, handle_signals=False)
        await runner.setup()
        self._cleanup.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listener, backlog=512).start()

    def _warn_of_what_is_not_served(self) -> None:
        for function in self.functions:
            if function.trigger_type not in SERVED_TRIGGERS:
                logger.warning(
                    "trigger is not served by this host; POST /admin/functions/<name> runs the function",
                    extra={"function": function.name, "trigger": function.trigger_type},
                )


def listen(host: str, port: int) -> socket.socket:
    """Bind an endpoint; port 0 takes a free one. Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
