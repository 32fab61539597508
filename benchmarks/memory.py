"""What an idle session costs in memory: a worker that holds many, beside a process with bare sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.floor_provider import FloorProvider
from benchmarks.measures import Report, row
from benchmarks.stage import ECHO_AGENTS, Stage
from shared.session.commands import EndCall
from shared.session.model import EndReason
from shared.store.inbox import Inbox

TITLE = "resident memory of a worker with idle sessions"

_FEW, _MANY = 100, 500
_BARE = "bare client, one more socket"
_WORKER_EMPTY = "worker with no session, after its first"
_CLIENT_EMPTY = "bare client with one socket"
_LOOK_EVERY_S = 0.3
_STILL_KIB = 64  # grown less than this between two looks: it has settled


async def measure(directory: Path, *, quick: bool) -> Report:
    """Fill a fresh worker to 100 and to 500 sessions; the same number of sockets for the floor."""
    times = 1 if quick else 3
    workers: list[list[float]] = []
    clients: list[list[float]] = []
    for _ in range(times):
        workers.append(await _worker(directory))
        clients.append(await _client(directory))
    return Report(
        name="memory",
        title=TITLE,
        rows=(
            row("worker, an idle session more", "KiB", map(_each, workers), against=_BARE),
            row(_BARE, "KiB", map(_each, clients)),
            row(_WORKER_EMPTY, "MiB", (sizes[0] / 1024 for sizes in workers), against=_CLIENT_EMPTY),
            row(f"worker with {_FEW} sessions", "MiB", (sizes[1] / 1024 for sizes in workers)),
            row(f"worker with {_MANY} sessions", "MiB", (sizes[2] / 1024 for sizes in workers)),
            row(_CLIENT_EMPTY, "MiB", (sizes[0] / 1024 for sizes in clients)),
            row(f"bare client with {_MANY} sockets", "MiB", (sizes[2] / 1024 for sizes in clients)),
        ),
        notes=(
            f"One more: the growth from {_FEW} to {_MANY}, divided. An idle session is attached and "
            "configured, and nothing has been said.",
        ),
    )


def _each(sizes: list[float]) -> float:
    return (sizes[2] - sizes[1]) / (_MANY - _FEW)


async def _worker(directory: Path) -> list[float]:
    """Return the KiB of a worker with no, few and many sessions."""
    async with FloorProvider() as provider, Stage(directory, agents=ECHO_AGENTS) as stage:
        stage.provider_url = provider.url
        process = await stage.start_worker(control_plane_url=provider.url)
        await _hold_one_session(stage, provider)
        sizes = [await _settled(process)]
        held = 0
        for wanted in (_FEW, _MANY):
            for number in range(held, wanted):
                await stage.hand_to_worker(await stage.create_session("echo"), f"rtc_{number}")
            for number in range(held, wanted):
                await provider.attached(f"rtc_{number}")
            held = wanted
            sizes.append(await _settled(process))
        return sizes


async def _hold_one_session(stage: Stage, provider: FloorProvider) -> None:
    """Let the worker hold a session from its beginning to its end: what it loads on first use stays."""
    session_id = await stage.create_session("echo")
    await stage.hand_to_worker(session_id, "rtc_first")
    await provider.attached("rtc_first")
    await Inbox(stage.redis).put(session_id, EndCall(reason=EndReason.OPERATOR_ENDED))
    held = 1
    while held:
        await asyncio.sleep(_LOOK_EVERY_S)
        held = await stage.sessions_held()


async def _client(directory: Path) -> list[float]:
    """Return the KiB of bare clients with one, few and many sockets."""
    sizes: list[float] = []
    async with FloorProvider() as provider, Stage(directory, agents=ECHO_AGENTS) as stage:
        sidebands = provider.url.replace("http", "ws", 1) + "/openai/v1/realtime"
        for count in (1, _FEW, _MANY):
            prefix = f"rtc_{count}_"
            command = ["-m", "benchmarks.floor_client", sidebands, prefix, str(count)]
            client = await stage.start_python(f"floor-{count}", command)
            for number in range(count):
                await provider.attached(f"{prefix}{number}")
            sizes.append(await _settled(client.process.pid))
    return sizes


async def _settled(process: int) -> float:
    """Return the KiB that a process has once it stops growing."""
    size = await _resident(process)
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        before, size = size, await _resident(process)
        if abs(size - before) < _STILL_KIB:
            return size


async def _resident(process: int) -> float:
    ps = await asyncio.create_subprocess_exec(
        "ps", "-o", "rss=", "-p", str(process), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await ps.communicate()
    return float(told)
