"""`make run` as a process: what it shows, what belongs to it, and whether anything of it stays."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.eventually import eventually

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(kw_only=True)
class Run:
    """A `python -m emulators run` in progress."""

    process: asyncio.subprocess.Process
    environment: dict[str, str]
    output: Path
    errors: Path
    seen: set[int] = field(default_factory=set)

    def text(self) -> str:
        return self.output.read_text(encoding="utf-8")

    async def shows(self, pattern: str, *, within: float) -> re.Match[str]:
        """Wait until the output has `pattern`, and note the processes that belong to the run."""

        def probe() -> re.Match[str] | None:
            self.seen |= descendants(self.process.pid)
            found = re.search(pattern, self.text())
            if found is None and self.process.returncode is not None:
                raise AssertionError(f"ended with {self.process.returncode}:\n{self.everything()}")
            return found

        try:
            return await eventually(probe, within=within, what=f"the output shows {pattern!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.everything()}") from None

    async def stops_after(self, number: signal.Signals) -> float:
        """Send a signal to the run alone; return how long it took to end."""
        self.seen |= descendants(self.process.pid)
        began = time.monotonic()
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            await self.process.wait()
        return time.monotonic() - began

    def everything(self) -> str:
        logs = sorted(Path(self.environment["SIDETONE_RUN_DIR"]).glob("logs/*.log"))
        tails = [f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in logs]
        return "\n".join([self.text(), self.errors.read_text(encoding="utf-8"), *tails])

    def survivors(self) -> list[str]:
        return [line for pid in self.seen if (line := command_of(pid))]


def descendants(root: int) -> set[int]:
    """Return the pids of all descendants of `root`, through /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def command_of(pid: int) -> str:
    """Return a living process's command line; "" when it is gone or only its exit code is left."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
    return "" if state == "Z" else f"{pid} {command}"


@asynccontextmanager
async def run_stack(environment: dict[str, str], directory: Path, *options: str) -> AsyncIterator[Run]:
    """Start the local stack; afterwards nothing of it may be left. `directory`: for what it prints."""
    output, errors = directory / "output.txt", directory / "errors.txt"
    with output.open("wb") as out, errors.open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-u",
            "-m",
            "emulators",
            "run",
            *options,
            cwd=REPOSITORY,
            env=environment,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    run = Run(process=process, environment=environment, output=output, errors=errors)
    try:
        yield run
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    await eventually(lambda: not run.survivors(), within=10, what=f"nothing survives: {run.survivors()}")
