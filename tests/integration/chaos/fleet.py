"""Several workers, the realtime emulator, Redis and the Functions app as processes, with lines between them
that can be cut and processes that can be killed, held and replaced."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from emulators.local.processes import Part, Processes, RunningPart
from emulators.redis_server import redis_command
from shared.agents.catalog import load_agents
from shared.ids import new_session_id
from shared.providers import make_provider
from shared.providers.session_config import realtime_session
from shared.session.model import Session, SessionState, Transport
from shared.settings import WorkerSettings
from shared.store.attach_queue import AttachQueue
from shared.store.connection import connect
from shared.store.inbox import Inbox
from shared.store.outbox import Outbox
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from tests.integration.chaos.logs import FollowedLogs
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.tcp_proxy import TcpProxy

REPOSITORY = Path(__file__).parents[3]
CLERK = Path(__file__).parents[2] / "support" / "clerk_agents"
LEASE_TTL_S = 3.0
API_KEY = "a-key-for-this-test-only"
OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
_SIGNING_KEYS = "k1:" + base64.b64encode(b"0123456789abcdef" * 2).decode()
_TAIL_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Call:
    """A session and the provider's call that it is about."""

    session_id: str
    call_id: str


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker process. `worker_id` is what it calls itself in leases and logs."""

    worker_id: str
    port: int
    part: RunningPart

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.part.process.pid, number)

    async def ended(self) -> int:
        return await self.part.process.wait()


class Fleet:
    """Use as an async context manager: it begins with Redis and the emulator; the rest is started by hand.

    agents: where the agent clerk is, and what the model does as it.
    Workers and the Functions app reach Redis through `redis_line`, workers reach the provider through
    `provider_line`; the test itself sees everything past these lines.
    """

    def __init__(
        self,
        directory: Path,
        *,
        control_plane_port: int = 0,
        speech_factor: float = 2.5,
        lease_ttl_s: float = LEASE_TTL_S,
        agents: Path = CLERK,
    ) -> None:
        self.directory = directory
        self._agents = agents
        self.ledger = directory / "ledger"
        self.control_plane_port = control_plane_port or free_port()
        self._speech_factor = speech_factor
        self._lease_ttl_s = lease_ttl_s
        self.redis_port, self._emulator_port = free_port(), free_port()
        self.redis_line = TcpProxy(self.redis_port)
        self.provider_line = TcpProxy(self._emulator_port)
        self.workers: list[Worker] = []
        self.functions: RunningPart | None = None
        self._processes = Processes(directory / "logs")
        self._started = 0

    async def __aenter__(self) -> Self:
        self.ledger.mkdir(parents=True)
        await self._processes.__aenter__()
        await asyncio.gather(self.redis_line.mend(), self.provider_line.mend())
        self.settings = WorkerSettings(
            redis_url=f"redis://127.0.0.1:{self.redis_port}/0",
            azure_openai_endpoint=f"http://127.0.0.1:{self._emulator_port}",
            azure_openai_api_key=API_KEY,  # type: ignore[arg-type]  # pydantic makes it a secret
            signing_keys=_SIGNING_KEYS,  # type: ignore[arg-type]
            control_plane_url=f"http://127.0.0.1:{self.control_plane_port}",
        )
        self.redis = connect(self.settings)
        self.sessions = SessionStore(self.redis, retention_s=3600)
        self.ownership = Ownership(self.redis, lease_ttl_s=self._lease_ttl_s)
        self.attach_queue = AttachQueue(self.redis)
        self.inbox = Inbox(self.redis)
        self.outbox = Outbox(self.redis)
        self.provider = make_provider(self.settings)
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        await asyncio.gather(self.start_redis(), self._start_emulator())
        self.logs = FollowedLogs(self.settings.redis_url)
        await self.logs.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.tail())
        for worker in self.workers:  # one would wait for others to take what it holds
            if worker.part.process.returncode is None:
                worker.signal(signal.SIGKILL)
        await self.logs.close()
        await self._processes.stop()
        await asyncio.gather(self.redis_line.cut(), self.provider_line.cut())
        await self.http.close()
        await self.provider.close()
        await self.redis.aclose()

    # --- processes ---------------------------------------------------------------------------------

    async def start_redis(self) -> None:
        """Start Redis on what an earlier one has left in its append-only file."""
        directory = self.directory / "redis"
        directory.mkdir(exist_ok=True)

        async def answers() -> bool:
            try:
                return bool(await self.redis.ping())
            except Exception:  # refused, or loading its file
                return False

        part = Part(
            name=self._name("redis"),
            title="Redis",
            command=redis_command(self.redis_port, directory, append_only=True),
            environment=_basics(),
            probe=answers,
        )
        self.redis_server = await self._processes.start(part)
        await self._processes.wait_ready(self.redis_server)

    async def start_functions(self) -> None:
        """Start the Functions app, on the port and with the orchestrations of an earlier one."""
        command = [
            sys.executable, "-m", "emulators", "functions", str(REPOSITORY),
            "--port", str(self.control_plane_port), "--db", str(self.directory / "durable.db"),
        ]  # fmt: skip
        settings = {
            "TOKEN_RATE_PER_MINUTE": "100000",
            "MAX_LIVE_SESSIONS_PER_PRINCIPAL": "1000",
            "ATTACH_WAIT_S": "30",
            "CONNECT_TIMEOUT_S": "60",
        }
        environment = self._environment(self.redis_line.port) | settings
        part = Part(
            name=self._name("functions"),
            title="the Functions app",
            command=command,
            environment=environment,
            directory=REPOSITORY,
        )
        self.functions = await self._processes.start(part)
        await self._processes.wait_ready(self.functions)

    async def start_worker(self, *, redis_line: TcpProxy | None = None, **settings: str) -> Worker:
        """Start one more worker."""
        name, port = self._name("worker"), free_port()
        environment = self._environment((redis_line or self.redis_line).port) | {
            "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{self.provider_line.port}",
            "CONTROL_PLANE_URL": f"http://127.0.0.1:{self.control_plane_port}",
            "WORKER_ID": name,
            "WORKER_HOST": "127.0.0.1",
            "WORKER_PORT": str(port),
            "MAX_SESSIONS": "200",
            "LEASE_TTL_S": str(self._lease_ttl_s),
            "LEASE_RENEW_S": str(self._lease_ttl_s / 3),
            **settings,
        }
        command = [sys.executable, "-m", "realtime_worker"]
        part = Part(name=name, title=name, command=command, environment=environment, directory=REPOSITORY)
        worker = Worker(worker_id=name, port=port, part=await self._processes.start(part))
        self.workers.append(worker)
        await self._processes.wait_ready(worker.part)
        return worker

    async def start_workers(self, count: int) -> list[Worker]:
        return list(await asyncio.gather(*(self.start_worker() for _ in range(count))))

    async def _start_emulator(self) -> None:
        command = [
            sys.executable, "-m", "emulators", "realtime", "--port", str(self._emulator_port),
            "--api-key", API_KEY, "--mind", str(self._agents / "clerk.rules.yaml"), "--no-speech",
            "--no-media", "--speech-rate-factor", str(self._speech_factor), "--log-level", "warning",
        ]  # fmt: skip
        part = Part(
            name=self._name("realtime"),
            title="the realtime emulator",
            command=command,
            environment=_basics(),
            directory=REPOSITORY,
        )
        await self._processes.wait_ready(await self._processes.start(part))

    def _environment(self, redis_port: int) -> dict[str, str]:
        return {
            **_basics(),
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{self._emulator_port}",
            "AZURE_OPENAI_API_KEY": API_KEY,
            "SIGNING_KEYS": _SIGNING_KEYS,
            "AGENTS_DIR": str(self._agents),
            "ORDER_LEDGER": str(self.ledger),
            "LOG_LEVEL": "INFO",
        }

    def _name(self, kind: str) -> str:
        self._started += 1
        return f"{kind}-{self._started}"

    def waited_s(self) -> dict[tuple[str, int], float]:
        """Return how long sessions waited until they were attached to, by session and epoch."""
        waited: dict[tuple[str, int], float] = {}
        for log in (self.directory / "logs").glob("worker-*.log"):
            for line in log.read_text(errors="replace").splitlines():
                if '"session attached"' in line:
                    entry = json.loads(line)
                    waited[entry["session_id"], entry["epoch"]] = entry["waited_ms"] / 1000
        return waited

    def tail(self) -> str:
        """Return what processes logged besides routine: how often each warning, the rest in full."""
        told: list[str] = []
        for log in sorted((self.directory / "logs").glob("*.log")):
            warnings: Counter[str] = Counter()
            others: list[str] = []
            for line in log.read_text(errors="replace").splitlines():
                if line.startswith('{"time"'):
                    entry = json.loads(line)
                    if entry["level"] != "INFO":
                        warnings[f"{entry['message']} {entry.get('code', '')}"] += 1
                    others += entry.get("exception", "").splitlines()[-4:]
                elif " INFO " not in line:
                    others.append(line)
            told += [f"--- {log.name}", *(f"{times} x {message}" for message, times in warnings.items())]
            told += [line[:300] for line in others[-_TAIL_LINES:]]
        return "\n".join(told)

    # --- calls -------------------------------------------------------------------------------------

    async def place_call(self) -> Call:
        """Have the Functions app start a call; return once a worker holds it."""
        url = f"http://127.0.0.1:{self.control_plane_port}/api/v1/sessions"
        headers = {"Content-Type": "application/sdp", "x-functions-key": "fleet"}
        async with self.http.post(url, params={"agent": "clerk"}, data=OFFER, headers=headers) as response:
            assert response.status == 201, f"{response.status} {await response.text()}"
            session_id = response.headers["Location"].rpartition("/")[2]
        self.logs.follow(session_id)
        return Call(session_id=session_id, call_id=(await self.sessions.get(session_id)).call_id)

    async def place_call_directly(self) -> Call:
        """Start a call as the Functions app would, without it; return once a worker holds it."""
        session_id = new_session_id()
        agent = load_agents(self._agents).get("clerk")
        await self.sessions.create(
            Session(
                session_id=session_id,
                state=SessionState.CREATED,
                transport=Transport.WEBRTC,
                agent=agent.name,
                agent_version=agent.version,
                principal="test",
                created_at_ms=int(time.time() * 1000),
            )
        )
        configuration = realtime_session(
            agent,
            variables={},
            model=self.settings.realtime_model,
            transcription_model=self.settings.transcription_model,
            transport=Transport.WEBRTC,
        )
        created = await self.provider.create_call(OFFER, configuration)
        await self.sessions.report_call(session_id, created.call_id, self.provider.name)
        await self.attach_queue.enqueue(session_id, "")
        self.logs.follow(session_id)

        async def active() -> bool:
            return (await self.sessions.get(session_id)).state is SessionState.ACTIVE

        await eventually(active, within=15, what=f"{session_id} is active")
        return Call(session_id=session_id, call_id=created.call_id)

    async def say(self, call: Call, text: str) -> None:
        """Let the caller say something; returns when they begin to."""
        await self._emulate("POST", f"calls/{call.call_id}/say", {"text": text, "wait": False})

    async def hang_up(self, call: Call) -> None:
        await self._emulate("POST", f"calls/{call.call_id}/hang-up", {})

    async def items(self, call: Call) -> list[dict[str, Any]]:
        """Return the conversation as the provider has it."""
        return (await self._emulate("GET", f"calls/{call.call_id}/items"))["items"]

    async def listeners(self, call: Call) -> int:
        """Return how many sidebands the call has."""
        return len((await self._emulate("GET", f"calls/{call.call_id}"))["listeners"])

    async def _emulate(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._emulator_port}/_emu/{path}"
        async with self.http.request(method, url, json=body) as response:
            assert response.status < 300, f"{path}: {response.status} {await response.text()}"
            return await response.json()

    # --- who does what -----------------------------------------------------------------------------

    async def owned(self, worker: Worker, calls: Iterable[Call]) -> dict[str, int]:
        """Return which sessions of `calls` the worker owns, with their epochs."""
        records = await asyncio.gather(*(self.sessions.get(call.session_id) for call in calls))
        return {one.session_id: one.epoch for one in records if one.owner == worker.worker_id}

    async def probe(self, worker: Worker, path: str) -> tuple[int, Mapping[str, Any]]:
        """Ask the worker's own HTTP face."""
        async with self.http.get(f"http://127.0.0.1:{worker.port}{path}") as response:
            return response.status, await response.json()


def _basics() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONUNBUFFERED": "1"}
