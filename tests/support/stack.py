"""The product as real processes for tests: Redis, the realtime emulator, the Functions app, a worker.

    with Stack(tmp_path) as stack:
        stack.start_redis()
        stack.start_realtime("--no-speech", "--no-media")
        functions = stack.start_functions(CONNECT_TIMEOUT_S="1")
        ... requests to functions.url with {"x-functions-key": functions.key} ...

Each process has a port of its own, writes to a log file under the stack's directory, and is
stopped when the block ends. Whatever goes wrong shows the end of the logs.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from emulators.communication.options import RESOURCE_ID as ACS_RESOURCE_ID
from emulators.redis_server import RunningRedis, start_redis
from shared.store.keys import WORKERS_BEATS, WORKERS_LOADS, WORKERS_TTL_S
from shared.store.scripts import BEAT
from tests.support.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 40.0
STOPPED_WITHIN_S = 8.0
_READY = re.compile(r"^ready (http\S+)$", re.MULTILINE)
_TAIL_LINES = 60


@dataclass(kw_only=True)
class Running:
    """A process of the stack. `url` is what its ready line said."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """Return the end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join([f"--- {self.name} ({self.log})", *text.splitlines()[-lines:]])

    def stop(self, *, kill: bool = False) -> int:
        """End its process group, by SIGKILL at once if `kill`; return the exit code. Safe to call twice."""
        if self.process.poll() is None:
            self._signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                self.process.wait(timeout=STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self.process.wait()
                raise AssertionError(f"{self.name} did not stop by SIGTERM\n{self.tail()}") from None
        return self.process.returncode

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)


@dataclass(kw_only=True)
class RunningFunctions(Running):
    """The Functions app. `keys`: function keys by name; `key` is the one that most tests use."""

    keys: Mapping[str, str] = field(repr=False, default_factory=dict[str, str])
    event_grid_key: str = field(repr=False, default="")

    @property
    def key(self) -> str:
        return self.keys["default"]

    def event_grid_url(self, function: str) -> str:
        """Return where Event Grid delivers to a function."""
        query = f"functionName={function}&code={self.event_grid_key}"
        return f"{self.url}/runtime/webhooks/eventgrid?{query}"

    @property
    def api(self) -> str:
        return f"{self.url}/api/v1"


class Stack:
    """Owns the processes of one test, or of one module's tests."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[Running] = []
        self._redis: RunningRedis | None = None
        self._redis_port = free_port()
        self.signing_keys = "test:" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.acs_url = f"http://127.0.0.1:{free_port()}"  # nobody answers until start_communication
        self.acs_key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.provider_key = secrets.token_urlsafe(16)
        self.provider_url = f"http://127.0.0.1:{free_port()}"  # nobody answers until start_realtime

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self._redis_port}/0"

    def start_redis(self) -> RunningRedis:
        """Start Redis, again on the same port after `stop_redis`; what it held survives that."""
        self._redis = start_redis(self._redis_port, self._directory / "redis", append_only=True)
        return self._redis

    def pretend_worker(self, capacity: int = 10_000) -> None:
        """Register a worker that is not there, for tests that play it: without room no call starts."""
        arguments = ("worker-1", f"0 {capacity}", 3_600_000, WORKERS_TTL_S)
        with redis.Redis.from_url(self.redis_url) as client:
            client.eval(BEAT.text, 2, WORKERS_BEATS, WORKERS_LOADS, *arguments)

    def stop_redis(self) -> None:
        """Stop Redis: connections are refused until `start_redis`."""
        if self._redis is not None:
            self._redis.stop()
            self._redis = None

    def start_realtime(self, *options: str) -> Running:
        """Start the realtime emulator, the provider of whatever is started after it."""
        command = [
            sys.executable,
            "-m",
            "emulators",
            "realtime",
            "--port",
            "0",
            f"--api-key={self.provider_key}",  # one word: a random key may begin with a dash
        ]
        running = self._start("realtime", [*command, *options], self._base_environment())
        self.provider_url = running.url
        return running

    def start_communication(self, *options: str) -> Running:
        """Start the Communication Services emulator, without speech; `acs_settings` tell others of it."""
        environment = {**self._base_environment(), "COMMUNICATION_EMULATOR_KEY": self.acs_key}
        command = [sys.executable, "-m", "emulators", "communication", "--port", "0", "--no-speech"]
        running = self._start("communication", [*command, *options], environment)
        self.acs_url = running.url
        return running

    def acs_settings(self, callback_url: str, media_url: str) -> dict[str, str]:
        """Return the settings of a Functions app that uses the Communication Services emulator."""
        return {
            "ACS_CONNECTION_STRING": f"endpoint={self.acs_url}/;accesskey={self.acs_key}",
            "ACS_RESOURCE_ID": ACS_RESOURCE_ID,
            "ACS_KEYS_URL": f"{self.acs_url}/calling/keys",
            "ACS_CALLBACK_URL": callback_url,
            "MEDIA_STREAM_URL": media_url,
            "ACS_PHONE_NUMBER": "+15550199",
        }

    def start_functions(
        self,
        *,
        name: str = "functions",
        executor: str = "plain",
        python: str = sys.executable,
        auth: bool = True,
        keys: Sequence[str] = ("default",),
        options: Sequence[str] = (),
        **settings: str,
    ) -> RunningFunctions:
        """Start the Functions app in the local host, with keys checked unless `auth` is false.

        `options` go to the host, `settings` are environment variables, over those that fit this stack.
        Started again under the same name, it finds its orchestrations as they were.
        """
        home = self._directory / name
        home.mkdir(parents=True, exist_ok=True)
        keys_file = home / "keys.json"
        if not keys_file.exists():
            values = {key: secrets.token_urlsafe(16) for key in keys}
            keys_file.write_text(json.dumps({"host": values}), encoding="utf-8")
        command = [python, "-m", "emulators", "functions", str(REPOSITORY), "--port", "0"]
        command += ["--db", str(home / "durable.db"), "--executor", executor, *options]
        if auth:
            command += ["--auth", "--keys", str(keys_file)]
        running = self._start(name, command, self.environment(**settings))
        given = json.loads(keys_file.read_text(encoding="utf-8"))
        functions = RunningFunctions(
            name=name,
            process=running.process,
            log=running.log,
            url=running.url,
            keys=given["host"],
            event_grid_key=given.get("system", {}).get("eventgrid_extension", ""),
        )
        self._running[self._running.index(running)] = functions
        return functions

    def start_worker(self, functions: RunningFunctions, *, name: str = "worker", **settings: str) -> Running:
        """Start a worker that reports to `functions`."""
        own = {
            "CONTROL_PLANE_URL": functions.url,
            "WORKER_HOST": "127.0.0.1",
            "WORKER_PORT": str(free_port()),
            "WORKER_ID": name,
            "DRAIN_S": "0",
        }
        return self._start(
            name, [sys.executable, "-m", "realtime_worker"], self.environment(**{**own, **settings})
        )

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the whole environment of a process of the product."""
        return {
            **self._base_environment(),
            "REDIS_URL": self.redis_url,
            "AZURE_OPENAI_ENDPOINT": self.provider_url,
            "AZURE_OPENAI_API_KEY": self.provider_key,
            "SIGNING_KEYS": self.signing_keys,
            "LOG_LEVEL": "INFO",
            **settings,
        }

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(running.tail() for running in self._running)

    def stop(self) -> None:
        """Stop everything, last started first; raises AssertionError if something had to be killed."""
        failures: list[str] = []
        for running in reversed(self._running):
            try:
                running.stop()
            except AssertionError as error:
                failures.append(str(error))
        self._running.clear()
        self.stop_redis()
        assert not failures, "\n".join(failures)

    @staticmethod
    def _base_environment() -> dict[str, str]:
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
        return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONUNBUFFERED": "1"}

    def _start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Running:
        log = self._directory / f"{name}.log"
        with log.open("ab") as output:
            offset = output.tell()
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        running = Running(name=name, process=process, log=log)
        self._running.append(running)
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            ready = _READY.search(log.read_bytes()[offset:].decode(errors="replace"))
            if ready and log.read_bytes()[offset:].endswith(b"\n"):
                running.url = ready.group(1)
                return running
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with {process.returncode}\n{running.tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} was not ready within {READY_WITHIN_S} s\n{running.tail()}")
            time.sleep(0.02)
