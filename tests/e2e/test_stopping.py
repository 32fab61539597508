"""Ctrl-C, and worse: what `make run` started is gone soon after, whenever that happens."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.local_run import REPOSITORY, Run, command_of, descendants

STOPS_WITHIN_S = 5.0
Running = Callable[..., AbstractAsyncContextManager[Run]]


pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads process trees from /proc"),
    pytest.mark.timeout(240),
]


@pytest.mark.parametrize(
    ("moment", "calls"),
    [
        ("^Starting", "browser"),
        ("session +active", "browser"),
        ("media started", "phone"),
    ],
)
async def test_ctrl_c_at_any_moment_stops_everything(running: Running, moment: str, calls: str) -> None:
    async with running("--calls", calls) as run:
        await run.shows(moment, within=90)
        took = await run.stops_after(signal.SIGINT)

        assert run.process.returncode == 130, run.everything()
        assert took < STOPS_WITHIN_S
        assert run.errors.read_text() == ""
        assert run.survivors() == []


async def test_ctrl_c_in_the_terminal_that_runs_make(environment: dict[str, str], tmp_path: Path) -> None:
    """The terminal signals make and the run alike; the parts are stopped by the run, in order."""
    shown = tmp_path / "terminal.txt"

    def pump(terminal: int) -> None:
        with shown.open("wb") as file, suppress(OSError):  # the end of a terminal is an error on Linux
            while part := os.read(terminal, 4096):
                file.write(part)
                file.flush()

    terminal, other_end = pty.openpty()
    # the leader of a new session takes the first terminal it opens as its own
    make = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        'exec make run ARGS=--no-call <"$0" >"$0" 2>&1',
        os.ttyname(other_end),
        cwd=REPOSITORY,
        env=environment,
        start_new_session=True,
    )
    pumping = asyncio.create_task(asyncio.to_thread(pump, terminal))
    seen: set[int] = set()

    def up() -> bool:
        seen.update(descendants(make.pid))
        return "Ctrl-C stops everything" in shown.read_text()

    try:
        try:
            await eventually(lambda: shown.exists() and up(), within=90, what="the stack is up")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{shown.read_text()}") from None
        assert len(seen) >= 7, [command_of(pid) for pid in seen]
        began = time.monotonic()
        os.write(terminal, b"\x03")
        await eventually(lambda: not any(map(command_of, seen)), within=10, what="all are gone")
        took = time.monotonic() - began
    finally:
        if make.returncode is None:
            make.kill()
        await make.wait()
        os.close(other_end)
        await pumping
        os.close(terminal)

    assert took < STOPS_WITHIN_S
    assert "Stopping everything." in shown.read_text()
    assert "Traceback" not in shown.read_text()


async def test_nothing_survives_a_kill_9_of_the_run(running: Running) -> None:
    async with running("--no-call") as run:
        await run.shows("Ctrl-C stops everything", within=60)
        await run.stops_after(signal.SIGKILL)

        await eventually(lambda: not run.survivors(), within=8, what=f"gone: {run.survivors()}")
