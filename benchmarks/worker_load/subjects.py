"""The clients that are measured, each in a process of its own on a core of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stage import ECHO_AGENTS, REPOSITORY, Stage
from benchmarks.worker_load.process_costs import on_core
from benchmarks.worker_load.service import Call, Service
from emulators.local.errors import LocalStackError

PEERS_PYTHON = REPOSITORY / ".venv-bench" / "bin" / "python"
_PEERS = REPOSITORY / "benchmarks" / "worker_load" / "peers"
_READY_WITHIN_S = 60.0
_SETTLED_S = 0.5
_BATCH = 100
MAX_CALLS = 1000


class Subject(ABC):
    """A process that holds sidebands. An async context manager; it ends with it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._held = 0

    @property
    @abstractmethod
    def process(self) -> int:
        """The process id."""

    @abstractmethod
    async def __aenter__(self) -> Subject: ...

    @abstractmethod
    async def __aexit__(self, *_: object) -> None: ...

    @abstractmethod
    async def _attach(self, first: int, count: int) -> None:
        """Have the process attach to the calls `rtc_<first>` and the following."""

    async def hold(self, calls: int) -> list[Call]:
        """Return all calls once the process holds this many; raise TimeoutError when they do not come."""
        for first in range(self._held, calls, _BATCH):
            count = min(_BATCH, calls - first)
            await self._attach(first, count)
            await self.service.wait_attached([f"rtc_{number}" for number in range(first, first + count)])
        if calls > self._held:
            # A client may not listen yet for what comes right after its configuration was confirmed.
            await asyncio.sleep(_SETTLED_S)
        self._held = max(self._held, calls)
        return await self.service.wait_attached([f"rtc_{number}" for number in range(calls)])


class Worker(Subject):
    """The product's worker with its Redis, which runs where the service does."""

    def __init__(self, service: Service, directory: Path, core: int) -> None:
        super().__init__(service)
        self._core = core
        self._stage = Stage(directory, agents=ECHO_AGENTS)
        self._stage.provider_url = service.url
        self._process = 0

    @property
    def process(self) -> int:
        return self._process

    async def __aenter__(self) -> Subject:
        await self._stage.__aenter__()
        try:
            with on_core(self._core):
                self._process = await self._stage.start_worker(
                    control_plane_url=self.service.control_plane_url
                )
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stage.__aexit__(None, None, None)

    async def _attach(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            await self._stage.hand_to_worker(await self._stage.create_session("echo"), f"rtc_{number}")


@dataclass(frozen=True, kw_only=True)
class ClientProgram:
    """A program that speaks the protocol of peers/commands.py. `path`: {} stands for the WebSocket's URL."""

    name: str
    command: tuple[str, ...]
    directory: Path


FLOOR_CLIENT = ClientProgram(
    name="floor",
    command=(sys.executable, "-m", "benchmarks.worker_load.floor_calls"),
    directory=REPOSITORY,
)
OPENAI_AGENTS = ClientProgram(
    name="openai-agents",
    command=(str(PEERS_PYTHON), str(_PEERS / "openai_agents_calls.py")),
    directory=_PEERS,
)
PYDANTIC_AI = ClientProgram(
    name="pydantic-ai",
    command=(str(PEERS_PYTHON), str(_PEERS / "pydantic_ai_calls.py")),
    directory=_PEERS,
)


class Client(Subject):
    """A ClientProgram; `directory` gets its log."""

    def __init__(self, service: Service, program: ClientProgram, directory: Path, core: int) -> None:
        super().__init__(service)
        self._program = program
        self._core = core
        self._log = directory / "client.log"
        self._child: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> int:
        assert self._child is not None, "use it as an async context manager"
        return self._child.pid

    async def __aenter__(self) -> Subject:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        url = self.service.url.replace("http", "ws", 1) + "/openai/v1/realtime"
        try:
            with self._log.open("wb") as log, on_core(self._core):
                self._child = await asyncio.create_subprocess_exec(
                    *self._program.command,
                    url,
                    cwd=self._program.directory,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    env=_environment(),
                )
        except OSError as error:
            raise LocalStackError(
                f"{self._program.name} cannot be started: {error}; `make bench-worker` installs it."
            ) from error
        assert self._child.stdout is not None
        try:
            if await self._first_line(self._child.stdout) != b"ready\n":
                raise self.failure("did not start")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        child = self._child
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()

    async def _first_line(self, output: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                return await output.readline()
        except TimeoutError:
            raise self.failure(f"was not ready within {_READY_WITHIN_S:g} s") from None

    def failure(self, what: str) -> LocalStackError:
        """Return the error that tells the end of the program's log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return LocalStackError(f"{self._program.name} {what}: {lines[-1][:200] if lines else 'no log'}")

    async def _attach(self, first: int, count: int) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        self._child.stdin.write(b"attach %d %d\n" % (first, count))
        await self._child.stdin.drain()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", "OPENAI_API_KEY": "none"}
