"""Start processes, wait until each says it is ready, stop them all within a bounded time."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from emulators.local.errors import LocalStackError
from emulators.local.guardian import Guardian

_READY = re.compile(rb"^ready\b", re.MULTILINE)
_LOOK_EVERY_S = 0.03
_LOG_LINES_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process to start.

    name: short, also the name of its log file.
    title: what a person calls it, with its article where it has one ("the worker").
    environment: its whole environment.
    directory: where it runs; None is where we do.
    probe: tells whether it is ready; without one, it is ready when it prints a line that starts with "ready".
    """

    name: str
    title: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path | None = None
    ready_within_s: float = 60.0
    probe: Callable[[], Awaitable[bool]] | None = None


@dataclass(frozen=True, kw_only=True)
class RunningPart:
    """A started process; it leads a process group of its own."""

    part: Part
    process: asyncio.subprocess.Process
    log: Path


class Processes:
    """Owns the processes it started. An async context manager: leaving it stops all of them.

    log_directory: one file a part, its standard output and error together, from this run only.
    own_sessions: whether each part has a session of its own, and with it, where Linux groups processes by
    session (sched(7), autogroup), as large a share of the processors as all of ours together.
    """

    def __init__(self, log_directory: Path, *, own_sessions: bool = True) -> None:
        self._log_directory = log_directory
        self._own_sessions = own_sessions
        self._guardian: Guardian | None = None
        self._running: list[RunningPart] = []
        self._ready: set[int] = set()

    async def __aenter__(self) -> Processes:
        self._log_directory.mkdir(parents=True, exist_ok=True)
        self._guardian = Guardian()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, part: Part) -> RunningPart:
        """Start `part` without waiting for it; raise LocalStackError when it cannot be started at all."""
        assert self._guardian is not None, "use Processes as an async context manager"
        log = self._log_directory / f"{part.name}.log"
        with log.open("wb") as output:
            process = await self._spawn(part, output)
        running = RunningPart(part=part, process=process, log=log)
        self._running.append(running)
        self._guardian.watch(process.pid)
        return running

    async def _spawn(self, part: Part, output: BinaryIO) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *part.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(part.environment),
                cwd=part.directory,
                start_new_session=self._own_sessions,
                preexec_fn=None if self._own_sessions else os.setpgrp,  # uvloop knows no process_group
            )
        except OSError as error:
            raise LocalStackError(
                f"{_capital(part.title)} cannot be started: {part.command[0]}: {error.strerror}."
            ) from error

    async def wait_ready(self, running: RunningPart) -> None:
        """Wait until the part is ready.

        Raises LocalStackError with the end of its log when it ends before, or is not ready in its time.
        """
        part = running.part
        deadline = time.monotonic() + part.ready_within_s
        while not await _is_ready(running):
            if running.process.returncode is not None:
                raise self.failure(running)
            if time.monotonic() > deadline:
                sentence = f"{_capital(part.title)} was not ready within {part.ready_within_s:g} s"
                raise LocalStackError(f"{sentence} (log: {running.log}).", _last_lines(running.log))
            await asyncio.sleep(_LOOK_EVERY_S)
        self._ready.add(running.process.pid)

    async def wait_for_an_end(self) -> RunningPart:
        """Return the first part that ends by itself."""
        waits = {asyncio.create_task(running.process.wait()): running for running in self._running}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return waits[done.pop()]
        finally:
            for task in waits:
                task.cancel()

    @staticmethod
    def failure(running: RunningPart) -> LocalStackError:
        """Return the error that tells of a part which ended by itself."""
        code = running.process.returncode or 0
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return LocalStackError(
            f"{_capital(running.part.title)} ended {how} (log: {running.log}).", _last_lines(running.log)
        )

    async def stop(self, *, within_s: float = 4.0) -> None:
        """Stop everything, last started first: SIGTERM, and SIGKILL for what is left after `within_s`.

        What was not ready yet has nothing to finish and is killed at once. Whole process groups end, so that
        a part's own children do not stay. Safe to call twice. A cancellation that arrives meanwhile takes
        effect afterwards.
        """
        stopping = asyncio.ensure_future(self._stop(within_s))
        cancelled = False
        while not stopping.done():
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError:
                cancelled = True
        stopping.result()
        if cancelled:
            raise asyncio.CancelledError

    async def _stop(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while self._running:
            running = self._running[-1]
            if running.process.returncode is None and running.process.pid in self._ready:
                _signal_group(running.process.pid, signal.SIGTERM)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(deadline - time.monotonic(), 0.05)):
                        await running.process.wait()
            _signal_group(running.process.pid, signal.SIGKILL)
            await running.process.wait()
            if self._guardian:
                self._guardian.forget(running.process.pid)
            self._running.pop()
        if self._guardian:
            await asyncio.to_thread(self._guardian.close)
            self._guardian = None


async def _is_ready(running: RunningPart) -> bool:
    if running.part.probe is not None:
        return running.process.returncode is None and await running.part.probe()
    return _READY.search(running.log.read_bytes()) is not None


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _last_lines(log: Path) -> list[str]:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line[:300] for line in lines if line.strip()][-_LOG_LINES_SHOWN:]


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]
