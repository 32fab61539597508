"""What we add to a tool call: from the service's function call event to our output on its wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from benchmarks.floor_provider import FloorProvider
from benchmarks.measures import Report, row
from benchmarks.stage import ECHO_AGENTS, Stage, only_entry
from shared.store.keys import SessionKeys

TITLE = "a tool call, from the service's event to our output on its wire"

_BARE = "bare client that answers in the same step"
_COMMANDS = "two Redis commands, one after the other"
_ORCHESTRATION = "the orchestration alone, started at its host"
# The model never calls a tool this soon after it spoke; what the last one left to record is done by then.
_PAUSE_S = 0.005
_WARM_UP = 10


async def measure(directory: Path, *, quick: bool) -> Report:
    """Measure inline and durable tools through a real worker, Redis, and Functions host."""
    inline_times, durable_times = (100, 15) if quick else (600, 120)
    async with FloorProvider() as provider, Stage(directory, agents=ECHO_AGENTS) as stage:
        stage.provider_url = provider.url
        await stage.start_functions()
        await stage.start_worker()
        sidebands = provider.url.replace("http", "ws", 1) + "/openai/v1/realtime"
        await stage.start_python("floor", ["-m", "benchmarks.floor_client", sidebands, "rtc_floor", "1"])
        floor = await provider.attached("rtc_floor0")
        session_id = await stage.create_session("echo")
        await stage.hand_to_worker(session_id, "rtc_bench")
        ours = await provider.attached("rtc_bench")

        inline, bare, commands = await _alternate(
            inline_times,
            lambda: ours.round_trip("echo"),
            lambda: floor.round_trip("echo"),
            lambda: _two_commands(stage),
        )
        async with aiohttp.ClientSession() as http:
            orchestration = _Orchestration(stage, http, await stage.create_session("echo"))
            durable, alone = await _alternate(
                durable_times, lambda: ours.round_trip("echo_later"), orchestration.round_trip
            )
    return Report(
        name="tools",
        title=TITLE,
        rows=(
            row("inline tool, event in to output out", "ms", inline, against=_BARE),
            row("durable tool, event in to output out", "ms", durable, against=_ORCHESTRATION),
            row(_BARE, "ms", bare),
            row(_COMMANDS, "ms", commands),
            row(_ORCHESTRATION, "ms", alone),
        ),
        notes=(
            "The tools do nothing. The inline one is recorded in Redis before it runs and before its "
            "output is sent: two writes that wait for each other.",
        ),
    )


async def _alternate(times: int, *steps: Callable[[], Awaitable[float]]) -> list[list[float]]:
    """Run the steps in turn, so that whatever else the machine does meets all of them alike."""
    results: list[list[float]] = [[] for _ in steps]
    for turn in range(times + _WARM_UP):
        for step, values in zip(steps, results, strict=True):
            await asyncio.sleep(_PAUSE_S)
            took = await step()
            if turn >= _WARM_UP:
                values.append(took)
    return results


async def _two_commands(stage: Stage) -> float:
    began = time.perf_counter()
    await stage.redis.execute_command("PING")
    await stage.redis.execute_command("PING")
    return (time.perf_counter() - began) * 1000


class _Orchestration:
    """Starts `tool_call` at the host itself, for a session that no worker holds."""

    def __init__(self, stage: Stage, http: aiohttp.ClientSession, session_id: str) -> None:
        self._stage = stage
        self._http = http
        self._session_id = session_id
        self._number = 0
        self._seen = "0-0"

    async def round_trip(self) -> float:
        """Return the milliseconds from the start request to the result in the session's inbox."""
        self._number += 1
        tool_call_id = f"floor_{self._number}"
        given = {
            "session_id": self._session_id,
            "tool_call_id": tool_call_id,
            "tool": "echo_later",
            "arguments": '{"number": 1}',
            "agent": "echo",
            "traceparent": "",
        }
        url = f"{self._stage.functions_url}/runtime/webhooks/durabletask/orchestrators/tool_call"
        inbox = SessionKeys(self._session_id).inbox
        headers = {"x-functions-key": self._stage.extension_key}
        began = time.perf_counter()
        async with self._http.post(
            f"{url}/{self._session_id}.{tool_call_id}", json=given, headers=headers
        ) as answer:
            answer.raise_for_status()
        arrived = await self._stage.redis.xread({inbox: self._seen}, count=1, block=30_000)
        took = (time.perf_counter() - began) * 1000
        self._seen, _ = only_entry(arrived)
        return took
