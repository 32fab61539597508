"""`make run` and `make call` as a person uses them: real processes, speech over WebRTC, Ctrl-C."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.local_run import REPOSITORY, Run

STOPS_WITHIN_S = 5.0
Running = Callable[..., AbstractAsyncContextManager[Run]]


pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads process trees from /proc"),
    pytest.mark.timeout(240),
]


async def test_the_demonstration_call_is_spoken_heard_and_archived(
    running: Running,
) -> None:
    async with running("--once", "--calls", "browser") as run:
        async with asyncio.timeout(200):
            await run.process.wait()
        text = run.text()

    assert run.process.returncode == 0, run.everything()
    live, _, archived = text.partition("Archived transcript")
    for state in ("connecting", "active", "ended", "transcript archived"):
        assert re.search(rf"session +{state}", live), f"{state} is missing in:\n{text}"
    for part in (live, archived):
        assert len(re.findall(r"^ +\d+:\d\d\.\d +caller ", part, re.MULTILINE)) == 4, text
        assert len(re.findall(r"^ +\d+:\d\d\.\d +agent ", part, re.MULTILINE)) >= 4, text
        assert re.search(r"tool +claim_status\(.*1042.*\) +\(inline\)", part), text
        assert re.search(r"tool +claim_status = \{.*\} +\(ok in [\d.]+ ms\)", part), text
        assert re.search(r"tool +\w*appointment\w*\(.*\) +\(durable\)", part), text
        assert re.search(r"tool +\w*appointment\w* = \{.*\} +\(ok in [\d.]+ ms\)", part), text
    assert re.search(r"agent .*\(first audio after \d+ ms\)", live), text
    assert re.search(
        r"^Summary: ended by \w+ after [\d.]+ s; 4 caller turns", archived + live, re.MULTILINE
    ), text
    assert "Traceback" not in run.everything()


async def test_the_stack_stays_up_for_more_calls_until_ctrl_c(
    running: Running, environment: dict[str, str]
) -> None:
    async with running("--no-call") as run:
        await run.shows("Ctrl-C stops everything", within=60)

        call = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "emulators",
            "call",
            "--mode",
            "relay",
            cwd=REPOSITORY,
            env={**environment, "SAY": "What are your opening hours?"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await call.communicate()
        assert call.returncode == 0, told.decode() + run.everything()
        assert "1 caller turn and" in told.decode()

        took = await run.stops_after(signal.SIGINT)
        assert run.process.returncode == 130
        assert took < STOPS_WITHIN_S
        assert run.errors.read_text() == ""
        assert run.survivors() == []


async def test_a_taken_port_is_one_sentence_and_nothing_was_started(
    running: Running, environment: dict[str, str]
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(environment["SIDETONE_PORT_REALTIME"])))
        holder.listen()
        async with running() as run:
            async with asyncio.timeout(30):
                await run.process.wait()

    port = environment["SIDETONE_PORT_REALTIME"]
    assert run.process.returncode == 1
    assert run.text() == ""
    assert run.errors.read_text() == (
        f"run: Port {port} for the realtime emulator is taken; "
        "stop what uses it or set SIDETONE_PORT_REALTIME to a free one.\n"
    )
