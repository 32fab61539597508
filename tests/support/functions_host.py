"""A Functions host as a process of its own: start, ask, kill, start again on the same state."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.eventually import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT = 20.0
FINAL = ("Completed", "Failed", "Terminated")


@dataclass
class FunctionsHost:
    """One host process at a time over one app directory and one database."""

    app_dir: Path
    state_dir: Path
    python: str = sys.executable
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    origin: str = ""
    output: list[str] = field(default_factory=list[str], repr=False)
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def journal(self) -> Path:
        return self.state_dir / "journal"

    def journal_lines(self) -> list[str]:
        return self.journal.read_text(encoding="utf-8").splitlines() if self.journal.exists() else []

    def start(self) -> None:
        """Start the process and wait for its ready line; the port stays the same over restarts."""
        port = self.origin.rpartition(":")[2] or "0"
        self.output = []
        self.process = subprocess.Popen(
            [
                self.python,
                "-m",
                "emulators",
                "functions",
                str(self.app_dir),
                "--port",
                port,
                "--db",
                str(self.state_dir / "durable.db"),
                *self.options,
            ],
            cwd=REPOSITORY,
            env={**os.environ, "JOURNAL": str(self.journal), "PYTHONUNBUFFERED": "1", **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read_output, args=(self.process,), daemon=True).start()
        deadline = time.monotonic() + START_TIMEOUT
        while not (ready := [line for line in self.output if line.startswith("ready ")]):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the host did not become ready:\n" + "\n".join(self.output))
            time.sleep(0.005)
        self.origin = ready[0].split()[1]

    def _read_output(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line.rstrip("\n"))

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask the process to end; returns its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(10)
        self.process = None
        return code

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[HostClient]:
        # A connection each: one that a killed host left behind must not be used again.
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield HostClient(self, session)


@dataclass
class Answer:
    """A whole HTTP answer."""

    status: int
    text: str
    headers: Mapping[str, str]

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class HostClient:
    """Asks a host over HTTP."""

    host: FunctionsHost
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **options: object) -> Answer:
        async with self.session.request(method, f"{self.host.origin}{path}", **options) as response:
            return Answer(response.status, await response.text(errors="replace"), response.headers)

    def durable(self, path: str) -> str:
        return f"/runtime/webhooks/durabletask/{path}"

    async def start(self, name: str, given: object = None, instance_id: str = "") -> str:
        """Start an orchestration through the management API; returns its id."""
        path = self.durable(f"orchestrators/{name}" + (f"/{instance_id}" if instance_id else ""))
        answer = await self.ask("POST", path, json={} if given is None else given)
        assert answer.status == 202, (answer.status, answer.text)
        return answer.json()["id"]

    async def status(self, instance_id: str, **query: str) -> dict[str, object]:
        answer = await self.ask("GET", self.durable(f"instances/{instance_id}"), params=query)
        assert answer.status in (200, 202), (answer.status, answer.text)
        return answer.json()

    async def raise_event(self, instance_id: str, name: str, data: object = None) -> int:
        path = self.durable(f"instances/{instance_id}/raiseEvent/{name}")
        body, headers = json.dumps(data), {"Content-Type": "application/json"}
        return (await self.ask("POST", path, data=body, headers=headers)).status

    async def steer(self, instance_id: str, operation: str, **query: str) -> int:
        path = self.durable(f"instances/{instance_id}/{operation}")
        return (await self.ask("POST", path, params=query)).status

    async def until(self, instance_id: str, *statuses: str, within: float = 15.0) -> dict[str, object]:
        """Wait for an instance to have one of these statuses (by default: to end); returns its status."""
        wanted = statuses or FINAL
        last: dict[str, object] = {}

        async def probe() -> bool:
            last.update(await self.status(instance_id))
            return last["runtimeStatus"] in wanted

        try:
            await eventually(probe, within=within)
        except AssertionError:
            tail = "\n".join(self.host.output[-30:])
            raise AssertionError(f"{instance_id} is not {wanted} but {last}\n{tail}") from None
        return last

    async def run(self, name: str, given: object = None, *, within: float = 15.0) -> object:
        """Start an orchestration and return its output; it must complete."""
        done = await self.until(await self.start(name, given), within=within)
        assert done["runtimeStatus"] == "Completed", (done, "\n".join(self.host.output[-30:]))
        return done["output"]

    async def call(self, operation: str, **arguments: object) -> dict[str, object]:
        """Call a method of the SDK's client inside the sample app."""
        answer = await self.ask("POST", f"/api/client/{operation}", json=arguments)
        assert answer.status == 200, (answer.status, answer.text, "\n".join(self.host.output[-30:]))
        return answer.json()
