"""The session store's hot operations, beside a bare PING on the same connection."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measures import Report, Row, row
from benchmarks.stage import ECHO_AGENTS, Stage
from shared.session.commands import Say
from shared.session.log import LogEntry, StateChanged, ToolCalled, ToolExecution, ToolFinished, ToolStatus
from shared.store.connection import connect
from shared.store.inbox import Inbox
from shared.store.ownership import Ownership

TITLE = "operations of the session store on a local Redis"

_PING = "PING, through the same client"
_SESSIONS = 100
_WARM_UP = 50


@dataclass(frozen=True)
class _Address:
    """All that `connect` needs of the settings."""

    redis_url: str


async def measure(directory: Path, *, quick: bool) -> Report:
    """Measure a commit, a command and renewals, each in turn with a PING."""
    times = 300 if quick else 3000
    async with Stage(directory, agents=ECHO_AGENTS) as stage:
        redis = connect(_Address(stage.redis_url))
        ownership, inbox = Ownership(redis, lease_ttl_s=60), Inbox(redis)
        held: dict[str, int] = {}
        for _ in range(_SESSIONS):
            session_id = await stage.create_session("echo")
            epoch = await ownership.acquire(session_id, "benchmark")
            assert epoch is not None, "a new session's lease is free"
            held[session_id] = epoch
        sessions = list(held)
        first, epoch = sessions[0], held[sessions[0]]

        async def ping(_: int) -> None:
            await redis.execute_command("PING")

        words = Say(text="One moment please.")
        operations: dict[str, Callable[[int], Awaitable[object]]] = {
            _PING: ping,
            "commit of one entry": lambda n: ownership.commit(first, epoch, entries=_one_entry(n)),
            "commit of three entries": lambda n: ownership.commit(first, epoch, entries=_three_entries(n)),
            "command into an inbox": lambda n: inbox.put(sessions[n % _SESSIONS], words),
            f"renewal of {_SESSIONS} leases": lambda _: ownership.renew("benchmark", held),
        }
        rows = await _in_turns(operations, times)
        await redis.aclose()
    return Report(name="store", title=TITLE, rows=rows)


async def _in_turns(operations: dict[str, Callable[[int], Awaitable[object]]], times: int) -> tuple[Row, ...]:
    took: dict[str, list[float]] = {name: [] for name in operations}
    for turn in range(times + _WARM_UP):
        for name, operation in operations.items():
            began = time.perf_counter()
            await operation(turn)
            if turn >= _WARM_UP:
                took[name].append((time.perf_counter() - began) * 1000)
    return tuple(
        row(name, "ms", values, against="" if name == _PING else _PING) for name, values in took.items()
    )


def _one_entry(number: int) -> list[LogEntry]:
    return [StateChanged(state="active", at_ms=number)]


def _three_entries(number: int) -> list[LogEntry]:
    call = f"call_{number}"
    return [
        ToolCalled(
            tool_call_id=call,
            name="claim_status",
            arguments='{"claim_number":"A-1029"}',
            execution=ToolExecution.INLINE,
            response_id="resp_1",
            at_ms=1,
        ),
        ToolFinished(
            tool_call_id=call,
            name="claim_status",
            status=ToolStatus.OK,
            output='{"status":"approved"}',
            duration_ms=1.0,
            at_ms=2,
        ),
        StateChanged(state="active", at_ms=3),
    ]
