"""How long the store's hot operations take on a local Redis: `python -m benchmarks.store`."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from emulators.redis_server import start_redis
from shared.ids import new_session_id
from shared.session.commands import Say
from shared.session.log import LogEntry, StateChanged, ToolCalled, ToolExecution, ToolFinished, ToolStatus
from shared.session.model import Session, SessionState, Transport
from shared.store.connection import connect
from shared.store.inbox import Inbox
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from tests.support.ports import free_port


@dataclass(frozen=True)
class Address:
    """All that `connect` needs of the settings."""

    redis_url: str


async def _measure(name: str, rounds: int, operation: Callable[[int], Awaitable[object]]) -> None:
    for n in range(min(50, rounds)):
        await operation(-1 - n)
    took: list[float] = []
    for n in range(rounds):
        before = time.perf_counter()
        await operation(n)
        took.append((time.perf_counter() - before) * 1000)
    took.sort()
    print(
        f"{name:<28} median {statistics.median(took):.3f} ms   p95 {took[int(rounds * 0.95)]:.3f} ms   "
        f"best {took[0]:.3f} ms"
    )


def _a_session(session_id: str) -> Session:
    return Session(
        session_id=session_id,
        state=SessionState.CREATED,
        transport=Transport.WEBRTC,
        agent="benchmark",
        agent_version="1",
        principal="local",
        created_at_ms=time.time_ns() // 1_000_000,
    )


def _three_entries(n: int) -> list[LogEntry]:
    call = f"call_{n}"
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


async def measure_store(redis_url: str, rounds: int) -> None:
    """Print how long a commit, a command and renewals take."""
    redis = connect(Address(redis_url))
    store, ownership = SessionStore(redis, retention_s=3600), Ownership(redis, lease_ttl_s=60)
    inbox = Inbox(redis)
    held: dict[str, int] = {}
    for _ in range(100):
        session_id = new_session_id()
        await store.create(_a_session(session_id))
        epoch = await ownership.acquire(session_id, "benchmark")
        assert epoch is not None
        held[session_id] = epoch
    sessions = list(held)
    first, epoch = sessions[0], held[sessions[0]]
    await _measure("ping", rounds, lambda _: redis.ping())
    await _measure(
        "commit of 3 entries", rounds, lambda n: ownership.commit(first, epoch, entries=_three_entries(n))
    )
    await _measure("commit of 1 entry", rounds, lambda n: ownership.commit(first, epoch, entries=_one(n)))
    say = Say(text="One moment please.")  # spread over the inboxes, which nobody empties
    few = max(1, rounds // 10)
    await _measure("command into an inbox", rounds, lambda n: inbox.put(sessions[n % 100], say))
    await _measure("renewal of 100 leases", few, lambda _: ownership.renew("benchmark", held))
    await redis.aclose()


def _one(n: int) -> list[LogEntry]:
    return [StateChanged(state="active", at_ms=abs(n))]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3000)
    rounds = arguments.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        server = start_redis(free_port(), Path(directory))
        try:
            asyncio.run(measure_store(server.url, rounds))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
