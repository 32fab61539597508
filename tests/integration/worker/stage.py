"""A worker process with everything around it: Redis behind a line that can be cut, the realtime emulator,
and a control plane that takes down what it is told."""

from __future__ import annotations

import base64
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from aiohttp import web

from emulators.local.processes import Part, Processes, RunningPart
from emulators.redis_server import start_redis
from shared.agents.catalog import load_agents
from shared.ids import new_session_id
from shared.providers import make_provider
from shared.providers.session_config import realtime_session
from shared.session.codec import CONTROL
from shared.session.commands import Command
from shared.session.jobs import ControlMessage
from shared.session.log import LogEntry
from shared.session.model import Session, SessionState, Transport
from shared.settings import WorkerSettings
from shared.store.attach_queue import AttachQueue
from shared.store.connection import connect
from shared.store.event_log import EventLog
from shared.store.inbox import Inbox
from shared.store.sessions import SessionStore
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.tcp_proxy import TcpProxy

DESK = Path(__file__).parents[2] / "support" / "desk_agents"
API_KEY = "a-key-for-this-test-only"
OFFER = "\r\n".join(
    [
        "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=mid:0", "a=sendrecv",
        "a=rtpmap:111 opus/48000/2", "a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 00:11", "a=setup:actpass", "",
    ]
)  # fmt: skip

EntryT = TypeVar("EntryT", bound=LogEntry)


class ControlPlaneStandIn:
    """Takes messages on a real socket. `refusals` are answered first: route and status.

    unavailable: says 503 to everything. asked: how many requests have come since `forget`.
    """

    def __init__(self) -> None:
        self.taken: list[ControlMessage] = []
        self.refusals: list[tuple[str, int]] = []
        self.authorizations: list[str] = []
        self.unavailable = False
        self.asked = 0
        self.port = free_port()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/api/v1/sessions/{id}/{kind}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    def forget(self) -> None:
        self.taken.clear()
        self.refusals.clear()
        self.authorizations.clear()
        self.unavailable = False
        self.asked = 0

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.authorizations.append(request.headers.get("Authorization", ""))
        if self.unavailable:
            return web.Response(status=503)
        if self.refusals and self.refusals[0][0] == request.match_info["kind"]:
            return web.Response(status=self.refusals.pop(0)[1], content_type="application/problem+json")
        self.taken.append(CONTROL.decode(await request.read()))
        return web.Response(status=202)


class Stage:
    """Use as an async context manager; `worker_environment` overrides settings of the worker, and
    `emulator_options` come on top of the realtime emulator's. agents: who is played, with their rules."""

    def __init__(
        self,
        directory: Path,
        worker_environment: Mapping[str, str] = {},
        emulator_options: Sequence[str] = (),
        agents: Path = DESK,
    ) -> None:
        self._agents = agents
        self._redis_server = start_redis(free_port(), directory / "redis")
        self.proxy = TcpProxy(self._redis_server.port)
        self.control_plane = ControlPlaneStandIn()
        self.directory = directory
        self.ledger = directory / "ledger.txt"
        self._overrides = worker_environment
        self._emulator_options = emulator_options
        self._processes = Processes(directory / "logs")
        self._emulator_port = free_port()
        self.worker_port = free_port()
        self.worker: RunningPart | None = None
        self._placed: list[str] = []

    async def __aenter__(self) -> Self:
        await self.proxy.__aenter__()
        await self._processes.__aenter__()
        self._environment = {
            **os.environ,
            "REDIS_URL": f"redis://127.0.0.1:{self.proxy.port}/0",
            "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{self._emulator_port}",
            "AZURE_OPENAI_API_KEY": API_KEY,
            "AGENTS_DIR": str(self._agents),
            "SIGNING_KEYS": "k1:" + base64.b64encode(b"0123456789abcdef" * 2).decode(),
            "CONTROL_PLANE_URL": f"http://127.0.0.1:{self.control_plane.port}",
            "WORKER_PORT": str(self.worker_port),
            "WORKER_HOST": "127.0.0.1",
            "DRAIN_S": "0",
            "DESK_LEDGER": str(self.ledger),
        }
        settings = WorkerSettings(
            redis_url=self._redis_server.url,
            azure_openai_endpoint=self._environment["AZURE_OPENAI_ENDPOINT"],
            azure_openai_api_key=API_KEY,  # type: ignore[arg-type]  # pydantic makes it a secret
            signing_keys=self._environment["SIGNING_KEYS"],  # type: ignore[arg-type]
            control_plane_url=self._environment["CONTROL_PLANE_URL"],
        )
        self.settings = settings
        self.redis = connect(settings)  # past the proxy: the test goes on seeing what the worker can't reach
        self.sessions = SessionStore(self.redis, retention_s=3600)
        self.log = EventLog(self.redis)
        self.inbox = Inbox(self.redis)
        self.attach_queue = AttachQueue(self.redis)
        self.provider = make_provider(settings)
        self.http = aiohttp.ClientSession()
        await self.control_plane.start()
        await self.start_emulator()
        await self.start_worker()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._processes.stop()
        await self.control_plane.stop()
        await self.http.close()
        await self.provider.close()
        await self.redis.aclose()
        await self.proxy.__aexit__(None, None, None)
        self._redis_server.stop()

    async def tell(self) -> None:
        """Print what a person needs when the test fails; pytest shows it only then."""
        for session_id in self._placed[-1:]:
            for one in await self.log.read(session_id, limit=500):
                print(one.entry_id, one.epoch, one.entry)
        if self.worker is not None:
            print(self.worker.log.read_text()[-6000:])

    async def start_emulator(self) -> None:
        options = ["--no-speech", "--no-media", "--speech-rate-factor", "20", "--log-level", "warning"]
        self.emulator = await self._processes.start(
            Part(
                name=f"realtime-{time.monotonic_ns()}",
                title="the realtime emulator",
                command=[
                    sys.executable, "-m", "emulators", "realtime", "--port", str(self._emulator_port),
                    "--api-key", API_KEY, "--mind-dir", str(self._agents),
                    *options, *self._emulator_options,
                ],
                environment=self._environment,
            )
        )  # fmt: skip
        await self._processes.wait_ready(self.emulator)

    async def start_worker(self) -> None:
        """Start a worker, beside the ones that run; `worker` and `probe` are about the latest."""
        self.worker_port = free_port()
        self._environment["WORKER_PORT"] = str(self.worker_port)
        self.worker = await self._processes.start(
            Part(
                name=f"worker-{time.monotonic_ns()}",
                title="the worker",
                command=[sys.executable, "-m", "realtime_worker"],
                environment={**self._environment, **self._overrides},
            )
        )
        await self._processes.wait_ready(self.worker)

    # --- what a caller and an operator do ----------------------------------------------------------

    async def place_call(
        self,
        *,
        agent_name: str = "desk",
        variables: Mapping[str, str] = {},
        transport: Transport = Transport.WEBRTC,
    ) -> tuple[str, str]:
        """Create a session and a call, as the control plane does; return both ids.

        transport: what the session says of the call, which is one from a browser all the same.
        """
        session_id = new_session_id()
        self._placed.append(session_id)
        agent = load_agents(self._agents).get(agent_name)
        await self.sessions.create(
            Session(
                session_id=session_id,
                state=SessionState.CREATED,
                transport=transport,
                agent=agent.name,
                agent_version=agent.version,
                principal="test",
                created_at_ms=int(time.time() * 1000),
                variables=variables,
            )
        )
        configuration = realtime_session(
            agent,
            variables=variables,
            model=self.settings.realtime_model,
            transcription_model=self.settings.transcription_model,
            transport=Transport.WEBRTC,
        )
        call = await self.provider.create_call(OFFER, configuration)
        await self.sessions.report_call(session_id, call.call_id, self.provider.name)
        await self.attach_queue.enqueue(session_id, "")
        return session_id, call.call_id

    async def talk(self) -> tuple[str, str]:
        """Place a call and wait until the worker holds it."""
        session_id, call_id = await self.place_call()
        await self.wait_state(session_id, SessionState.ACTIVE)
        return session_id, call_id

    async def say(self, call_id: str, text: str) -> None:
        await self.emulate(f"/_emu/calls/{call_id}/say", {"text": text})

    async def fault(self, **fault: object) -> None:
        await self.emulate("/_emu/faults", fault)

    async def forget_faults(self) -> None:
        url = f"http://127.0.0.1:{self._emulator_port}/_emu/faults"
        async with self.http.delete(url) as response:
            assert response.status == 200

    async def emulate(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        url = f"http://127.0.0.1:{self._emulator_port}{path}"
        async with self.http.post(url, json=body) as response:
            text = await response.text()
            assert response.status < 300, f"{path}: {response.status} {text}"
            return await response.json()

    async def ask_emulator(self, path: str) -> dict[str, object]:
        async with self.http.get(f"http://127.0.0.1:{self._emulator_port}{path}") as response:
            assert response.status == 200, f"{path}: {response.status}"
            return await response.json()

    async def command(self, session_id: str, command: Command) -> None:
        await self.inbox.put(session_id, command)

    async def probe(self, path: str, *, port: int | None = None) -> tuple[int, dict[str, object]]:
        """Ask the HTTP face of a worker, the latest unless `port` says another."""
        async with self.http.get(f"http://127.0.0.1:{port or self.worker_port}{path}") as response:
            return response.status, await response.json()

    # --- what happened -------------------------------------------------------------------------------

    async def wait_state(self, session_id: str, state: SessionState, *, within: float = 15.0) -> Session:
        async def reached() -> Session | None:
            session = await self.sessions.get(session_id)
            return session if session.state is state else None

        return await eventually(reached, within=within, what=f"{session_id} is {state.value}")

    async def entries(self, session_id: str, kind: type[EntryT]) -> list[EntryT]:
        logged = await self.log.read(session_id, limit=500)
        return [one.entry for one in logged if isinstance(one.entry, kind)]

    async def wait_entry(
        self,
        session_id: str,
        kind: type[EntryT],
        test: Callable[[EntryT], bool] = lambda _: True,
        *,
        within: float = 15.0,
    ) -> EntryT:
        async def found() -> EntryT | None:
            return next((entry for entry in await self.entries(session_id, kind) if test(entry)), None)

        return await eventually(found, within=within, what=f"{kind.__name__} in the log of {session_id}")
