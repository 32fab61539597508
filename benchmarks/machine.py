"""On what and when something was measured: figures mean nothing without it."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from emulators.redis_server import RedisUnavailableError, find_redis_server

_PACKAGES = ("aiohttp", "azure-functions", "azure-functions-durable", "openai", "redis", "uvloop")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`load` is the one-minute load average before the run: above `cores`, others were busy here."""

    at: str
    cores: int
    cpu: str
    system: str
    python: str
    redis_server: str
    packages: dict[str, str]
    load: float

    def sentences(self) -> list[str]:
        """Return what a person needs, in two lines."""
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return [
            f"{self.at}: {self.cores} cores, {self.cpu}, {self.system}, load {self.load:.1f} at the start",
            f"Python {self.python}, Redis {self.redis_server}, {packages}",
        ]


def this_machine() -> Machine:
    """Return what this machine is, as far as it tells."""
    return Machine(
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        cpu=_cpu(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        redis_server=_redis_server(),
        packages={name: found for name in _PACKAGES if (found := _version(name))},
        load=round(os.getloadavg()[0], 2),
    )


def stolen_s() -> float:
    """Return the processor seconds that went to other machines so far; 0 where nothing tells."""
    accounts = Path("/proc/stat")
    if not accounts.exists():
        return 0.0
    name, *ticks = accounts.read_text(encoding="ascii").partition("\n")[0].split()
    steal = 7  # proc_stat(5)
    return int(ticks[steal]) / os.sysconf("SC_CLK_TCK") if name == "cpu" and len(ticks) > steal else 0.0


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _redis_server() -> str:
    try:
        told = subprocess.run([find_redis_server(), "--version"], capture_output=True, text=True, check=False)
    except (RedisUnavailableError, OSError):
        return "not found"
    words = dict(word.split("=", 1) for word in told.stdout.split() if "=" in word)
    return words.get("v", "unknown")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
