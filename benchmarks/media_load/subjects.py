"""The bridges that are measured, each in a process of its own on a core of its own."""

from __future__ import annotations

import asyncio
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

from aiohttp import web

from benchmarks.media_load.exchange import Exchange
from benchmarks.stage import ECHO_AGENTS, REPOSITORY, Stage
from benchmarks.worker_load.process_costs import on_core
from benchmarks.worker_load.subjects import PEERS_PYTHON
from emulators.communication.tokens import ISSUER, KEYS_PATH, TokenSigner
from emulators.local.errors import LocalStackError
from shared.ids import new_session_id
from shared.security.tokens import TokenRing
from shared.session.model import Session, SessionState, Transport
from shared.store.sessions import SessionStore

_BRIDGES = REPOSITORY / "benchmarks" / "media_load" / "bridges"
_RESOURCE = "6f1c3d52-0a6e-4f43-9f0b-3a2f6d5c8e71"
_READY_WITHIN_S = 30.0


class Subject(ABC):
    """A process between callers and a service. An async context manager; it ends with it.

    helpers: processes that work for it where the exchange runs.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.process = 0
        self.helpers: list[int] = []

    @abstractmethod
    async def __aenter__(self) -> Subject: ...

    @abstractmethod
    async def __aexit__(self, *_: object) -> None: ...

    @abstractmethod
    async def _address(self) -> tuple[str, dict[str, str]]:
        """Return where the next call's media socket is to be opened, and with which headers."""

    async def hold(self, calls: int) -> None:
        """Have so many calls, all of which have been heard."""
        while len(self.exchange.callers) < calls:
            url, headers = await self._address()
            await self.exchange.call(url, headers)


class Worker(Subject):
    """The product's worker with its Redis, which runs where the exchange does."""

    def __init__(self, exchange: Exchange, directory: Path, core: int) -> None:
        super().__init__(exchange)
        self._core = core
        self._stage = Stage(directory, agents=ECHO_AGENTS)
        self._stage.provider_url = exchange.url
        self._signer = TokenSigner(issuer=ISSUER, audience=_RESOURCE)
        self._keys: web.AppRunner | None = None

    async def __aenter__(self) -> Subject:
        await self._stage.__aenter__()
        try:
            redis: dict[str, int] = await self._stage.redis.info("server")
            self.helpers = [redis["process_id"]]
            with on_core(self._core):
                self.process = await self._stage.start_worker(
                    control_plane_url=await self._serve(),
                    ACS_RESOURCE_ID=_RESOURCE,
                    ACS_KEYS_URL=f"{self._address_of_keys()}{KEYS_PATH}",
                )
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stage.__aexit__(None, None, None)
        if self._keys is not None:
            await self._keys.cleanup()

    async def _address(self) -> tuple[str, dict[str, str]]:
        session_id = new_session_id()
        session = Session(
            session_id=session_id,
            state=SessionState.CREATED,
            transport=Transport.ACS,
            agent="echo",
            agent_version="1",
            principal="benchmark",
            created_at_ms=time.time_ns() // 1_000_000,
            max_duration_s=3300,
        )
        await SessionStore(self._stage.redis, retention_s=3600).create(session)
        token = TokenRing(self._stage.signing_keys).issue_media_token(session_id, 3600)
        url = f"{self._stage.worker_url}/api/v1/media/stream?session={session_id}&token={token}"
        return url, {"Authorization": self._signer.authorization() or ""}

    async def _serve(self) -> str:
        """Serve the carrier's keys, and take what the worker tells the control plane."""

        async def keys(_: web.Request) -> web.Response:
            return web.json_response(self._signer.jwks())

        async def accept(_: web.Request) -> web.Response:
            return web.Response(status=202)

        app = web.Application()
        app.router.add_get(KEYS_PATH, keys)
        app.router.add_post("/{path:.*}", accept)
        self._keys = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._keys.setup()
        await web.TCPSite(self._keys, "127.0.0.1", 0).start()
        return self._address_of_keys()

    def _address_of_keys(self) -> str:
        assert self._keys is not None
        return f"http://127.0.0.1:{self._keys.addresses[0][1]}"


class Bridge(Subject):
    """A program of bridges/: takes the service's address, prints its port."""

    def __init__(self, exchange: Exchange, program: str, directory: Path, core: int) -> None:
        super().__init__(exchange)
        self._program = program
        self._log = directory / f"{program}.log"
        self._core = core
        self._child: asyncio.subprocess.Process | None = None
        self._port = 0

    async def __aenter__(self) -> Subject:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        python = str(PEERS_PYTHON) if self._program == "floor" else sys.executable
        service = self.exchange.url.replace("http", "ws", 1) + "/openai/v1/realtime"
        try:
            with self._log.open("wb") as log, on_core(self._core):
                self._child = await asyncio.create_subprocess_exec(
                    python,
                    str(_BRIDGES / f"{self._program}.py"),
                    service,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                )
        except OSError as error:
            raise LocalStackError(
                f"{self._program} cannot be started: {error}; `make bench-media` installs it."
            ) from error
        assert self._child.stdout is not None
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                told = await self._child.stdout.readline()
        except TimeoutError:
            told = b""
        word, _, port = told.decode().strip().partition(" ")
        if word != "ready":
            await self.__aexit__()
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise LocalStackError(f"{self._program} did not start: {lines[-1][:200] if lines else 'no log'}")
        self.process, self._port = self._child.pid, int(port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.kill()
            await self._child.wait()

    async def _address(self) -> tuple[str, dict[str, str]]:
        return f"http://127.0.0.1:{self._port}/media", {}
