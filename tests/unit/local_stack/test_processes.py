"""Processes and their guardian, with small real children."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from emulators.local.errors import LocalStackError
from emulators.local.processes import Part, Processes
from tests.support.eventually import eventually


def part(name: str, code: str, *, ready_within_s: float = 20.0) -> Part:
    return Part(
        name=name,
        title=f"the {name}",
        command=[sys.executable, "-u", "-c", code],
        environment=dict(os.environ),
        ready_within_s=ready_within_s,
    )


READY_AND_WAIT = "import time; print('hello'); print('ready http://here'); time.sleep(600)"
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True);"
    "time.sleep(600)"
)
# leads a child of its own, which ignores SIGTERM; prints its pid
WITH_CHILD = (
    "import subprocess, sys, time;"
    f"child = subprocess.Popen([sys.executable, '-c', {DEAF!r}], stdout=subprocess.PIPE);"
    "child.stdout.readline(); print('ready', child.pid, flush=True); time.sleep(600)"
)


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text() if Path("/proc").is_dir() else None
        os.kill(pid, 0)
    except (ProcessLookupError, FileNotFoundError):
        return False
    return status is None or status.rpartition(")")[2].split()[0] != "Z"


async def test_a_part_is_ready_when_it_says_so_and_gone_after_the_block(tmp_path: Path) -> None:
    async with Processes(tmp_path / "logs") as processes:
        running = await processes.start(part("worker", READY_AND_WAIT))
        await processes.wait_ready(running)
        assert running.log.read_text() == "hello\nready http://here\n"
        assert alive(running.process.pid)

    assert not alive(running.process.pid)
    assert running.process.returncode == -signal.SIGTERM


async def test_a_crash_before_ready_is_one_sentence_and_the_end_of_the_log(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        running = await processes.start(
            part("worker", "import sys; print('REDIS_URL is missing'); sys.exit(3)")
        )
        with pytest.raises(LocalStackError) as told:
            await processes.wait_ready(running)

    assert told.value.sentence == f"The worker ended with exit code 3 (log: {tmp_path / 'worker.log'})."
    assert told.value.details == ("REDIS_URL is missing",)


async def test_a_part_that_never_is_ready_is_told_after_its_time(tmp_path: Path) -> None:
    code = "import time; print('already there'); print('loading'); time.sleep(600)"
    async with Processes(tmp_path) as processes:
        running = await processes.start(part("host", code, ready_within_s=0.5))
        with pytest.raises(LocalStackError, match=r"^The host was not ready within 0.5 s \(log: "):
            await processes.wait_ready(running)

    assert not alive(running.process.pid)


async def test_a_probe_decides_where_there_is_one(tmp_path: Path) -> None:
    asked = 0

    async def probe() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    silent = Part(
        name="redis",
        title="Redis",
        command=["/bin/sleep", "600"],
        environment={},
        probe=probe,
    )
    async with Processes(tmp_path) as processes:
        await processes.wait_ready(await processes.start(silent))

    assert asked == 3


async def test_a_command_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    nothing = Part(name="x", title="the host", command=["/no/such/program"], environment={})
    async with Processes(tmp_path) as processes:
        with pytest.raises(LocalStackError, match=r"^The host cannot be started: /no/such/program: No such"):
            await processes.start(nothing)


async def test_parts_stop_in_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        f"    with open({str(order)!r}, 'a') as file: file.write(sys.argv[1])\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready'); time.sleep(600)"
    )
    async with Processes(tmp_path / "logs") as processes:
        for name in "abc":
            one = part(name, code)
            await processes.wait_ready(
                await processes.start(
                    Part(
                        name=name,
                        title=name,
                        command=[*one.command, name],
                        environment=one.environment,
                    )
                )
            )

    assert order.read_text() == "cba"


async def test_a_part_that_ignores_sigterm_is_killed_with_its_children_within_the_time(
    tmp_path: Path,
) -> None:
    processes = Processes(tmp_path)
    async with processes:
        deaf = await processes.start(part("deaf", DEAF))
        family = await processes.start(part("family", WITH_CHILD))
        await processes.wait_ready(deaf)
        await processes.wait_ready(family)
        child = int(family.log.read_text().split()[1])
        began = time.monotonic()
        await processes.stop(within_s=0.5)
        took = time.monotonic() - began

    assert took < 3
    assert not alive(deaf.process.pid)
    await eventually(lambda: not alive(child), what="the grandchild is gone too")


async def test_a_cancellation_while_stopping_does_not_cut_the_stop_short(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    await processes.__aenter__()
    deaf = await processes.start(part("deaf", DEAF))
    await processes.wait_ready(deaf)

    stopping = asyncio.create_task(processes.stop(within_s=0.5))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping

    assert not alive(deaf.process.pid)
    await processes.stop()


async def test_the_first_part_that_ends_by_itself_is_told(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        await processes.start(part("stays", READY_AND_WAIT))
        ends = await processes.start(part("ends", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))

        assert await processes.wait_for_an_end() is ends
        assert processes.failure(ends).sentence.startswith("The ends ended by signal SIGKILL (log: ")


STACK = """
import asyncio, os, pathlib, sys
from emulators.local.processes import Part, Processes

async def main():
    async with Processes(pathlib.Path(sys.argv[1])) as processes:
        for number, code in enumerate(sys.argv[2:]):
            part = Part(name=f"part{number}", title="it", environment=dict(os.environ),
                        command=[sys.executable, "-u", "-c", code])
            running = await processes.start(part)
            await processes.wait_ready(running)
            print(running.process.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_nothing_survives_a_kill_9_of_the_stack(tmp_path: Path) -> None:
    stack = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STACK, str(tmp_path), READY_AND_WAIT, WITH_CHILD, stdout=asyncio.subprocess.PIPE
    )
    assert stack.stdout is not None
    pids = [int(await stack.stdout.readline()) for _ in range(2)]
    pids.append(int((tmp_path / "part1.log").read_text().split()[1]))
    assert all(alive(pid) for pid in pids)
    stack.kill()
    await stack.wait()

    await eventually(lambda: not any(alive(pid) for pid in pids), what=f"all of {pids} are gone")
