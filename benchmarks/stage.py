"""The processes that a benchmark runs against: real Redis, Functions host, worker, realtime emulator."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import shutil
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import aiohttp
from redis.asyncio import Redis

from emulators.local.processes import Part, Processes, RunningPart
from emulators.redis_server import answers, redis_command
from shared.agents.catalog import AgentCatalog, load_agents
from shared.ids import new_session_id
from shared.session.model import Session, SessionState, Transport
from shared.store.attach_queue import AttachQueue
from shared.store.sessions import SessionStore

REPOSITORY = Path(__file__).resolve().parents[1]
ECHO_AGENTS = REPOSITORY / "benchmarks" / "agents"
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class Stage:
    """An async context manager; what was started ends with it. `directory` is emptied first.

    provider_url: where the parts started next find the realtime service.
    agents: the agents directory of the parts started next.
    """

    def __init__(self, directory: Path, *, agents: Path = REPOSITORY / "agents") -> None:
        self._directory = directory
        self._processes = Processes(directory / "logs", own_sessions=False)
        self.agents = agents
        self.provider_url = "http://127.0.0.1:1"
        self.functions_url = ""
        self.worker_url = ""
        self.api_key = secrets.token_urlsafe(16)
        self.function_key = secrets.token_urlsafe(16)
        self.extension_key = secrets.token_urlsafe(16)
        self.signing_keys = "bench:" + base64.b64encode(secrets.token_bytes(32)).decode()
        self._catalog: AgentCatalog | None = None
        self._redis_port = free_port()
        self.redis = Redis(port=self._redis_port, decode_responses=True)

    async def __aenter__(self) -> Self:
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        await self._processes.__aenter__()
        try:
            await self._start_redis()
        except BaseException:
            await self._processes.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.redis.aclose()
        await self._processes.stop()

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self._redis_port}/0"

    async def start_realtime(self) -> None:
        """Start the realtime emulator without speech or media."""
        port = free_port()
        options = ["--port", str(port), "--api-key", self.api_key, "--mind-dir", str(self.agents)]
        command = ["-m", "emulators", "realtime", *options, "--no-speech", "--no-media"]
        await self.start_python("realtime", command)
        self.provider_url = f"http://127.0.0.1:{port}"

    async def start_functions(self) -> None:
        """Start the Functions app in the local host, keys checked, the rate limits out of the way."""
        port = free_port()
        keys = self._directory / "keys.json"
        system = {"durabletask_extension": self.extension_key}
        keys.write_text(json.dumps({"host": {"default": self.function_key}, "system": system}))
        command = ["-m", "emulators", "functions", str(REPOSITORY), "--port", str(port), "--auth"]
        command += ["--keys", str(keys), "--db", str(self._directory / "durable.sqlite")]
        limits = {"TOKEN_RATE_PER_MINUTE": "100000", "MAX_LIVE_SESSIONS_PER_PRINCIPAL": "100000"}
        await self.start_python("functions", command, **limits)
        self.functions_url = f"http://127.0.0.1:{port}"

    async def start_worker(self, *, control_plane_url: str = "", **settings: str) -> int:
        """Start a worker with room for a thousand sessions, and more settings; return its process id."""
        port = free_port()
        running = await self.start_python(
            "worker",
            ["-m", "realtime_worker"],
            CONTROL_PLANE_URL=control_plane_url or self.functions_url,
            WORKER_HOST="127.0.0.1",
            WORKER_PORT=str(port),
            MAX_SESSIONS="1000",
            DRAIN_S="0",
            **settings,
        )
        self.worker_url = f"http://127.0.0.1:{port}"
        return running.process.pid

    async def start_python(self, name: str, arguments: list[str], **settings: str) -> RunningPart:
        """Start a Python process of the repository with the stage's settings; wait for its ready line."""
        running = await self._processes.start(
            Part(
                name=name,
                title=f"the benchmark's {name}",
                command=[sys.executable, *arguments],
                environment={**self._environment(), **settings},
                directory=REPOSITORY,
            )
        )
        await self._processes.wait_ready(running)
        return running

    async def create_session(self, agent_name: str) -> str:
        """Put a session's record into Redis, as the control plane does; return its id."""
        if self._catalog is None:
            self._catalog = load_agents(self.agents)
        agent = self._catalog.get(agent_name)
        session = Session(
            session_id=new_session_id(),
            state=SessionState.CREATED,
            transport=Transport.WEBRTC,
            agent=agent.name,
            agent_version=agent.version,
            principal="benchmark",
            created_at_ms=time.time_ns() // 1_000_000,
            max_duration_s=3300,
        )
        await SessionStore(self.redis, retention_s=3600).create(session)
        return session.session_id

    async def hand_to_worker(self, session_id: str, call_id: str) -> None:
        """Have a worker attach the session to `call_id`."""
        await SessionStore(self.redis, retention_s=3600).report_call(session_id, call_id, "azure_openai")
        await AttachQueue(self.redis).enqueue(session_id, "")

    async def sessions_held(self) -> int:
        """Return how many sessions the worker holds now."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.worker_url}/ready", raise_for_status=True) as answer,
        ):
            return int((await answer.json())["sessions"])

    async def _start_redis(self) -> None:
        async def answering() -> bool:
            return await asyncio.to_thread(answers, self._redis_port)

        part = Part(
            name="redis",
            title="Redis",
            command=redis_command(self._redis_port, self._directory),
            environment=self._environment(),
            probe=answering,
        )
        await self._processes.wait_ready(await self._processes.start(part))

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return kept | {
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": self.redis_url,
            "PROVIDER": "azure_openai",
            "AZURE_OPENAI_ENDPOINT": self.provider_url,
            "AZURE_OPENAI_API_KEY": self.api_key,
            "AGENTS_DIR": str(self.agents),
            "SIGNING_KEYS": self.signing_keys,
            "LOG_LEVEL": "WARNING",
        }


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def only_entry(reply: object) -> tuple[str, dict[str, str]]:
    """Return (id, fields) of the one entry in an XREAD reply; it is a mapping in RESP 3, pairs in RESP 2.

    Raises TimeoutError for the empty reply of a read that waited in vain.
    """
    if not reply:
        raise TimeoutError("nothing arrived in the stream")
    if isinstance(reply, dict):
        batches = cast("list[list[list[tuple[str, dict[str, str]]]]]", list(reply.values()))
        return batches[0][0][0]
    return cast("list[tuple[str, list[tuple[str, dict[str, str]]]]]", reply)[0][1][0]
