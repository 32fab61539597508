"""The token request, and what of it is the host's, the engine's and the realtime service's."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from benchmarks.calls import AGENT, Caller
from benchmarks.measures import Report, row
from benchmarks.stage import Stage
from shared.agents.catalog import load_agents
from shared.ids import new_session_id
from shared.providers.session_config import realtime_session
from shared.session.model import Transport
from shared.store.workers import WorkerRegistry

TITLE = "POST /api/v1/token"

_TOKEN = "POST /api/v1/token"
_HEALTH = "health request to the same host"
_ENGINE = "starting an orchestration at the host"
_SECRET = "client secret from the realtime emulator"
_FLOOR = "host, engine and realtime service alone, added up"
_WARM_UP = 5


async def measure(directory: Path, *, quick: bool) -> Report:
    """Ask for tokens one after the other, and each time for its parts beside it."""
    times = 30 if quick else 250
    tokens: list[float] = []
    healths: list[float] = []
    engines: list[float] = []
    secrets: list[float] = []
    async with Stage(directory) as stage, aiohttp.ClientSession() as http:
        await stage.start_realtime()
        await stage.start_functions()
        # No call is made: room for it is all that a token needs of a worker.
        await WorkerRegistry(stage.redis).beat("worker", 0, 1_000_000, ttl_s=3_600)
        caller = Caller(stage, http)
        session = realtime_session(
            load_agents(stage.agents).get(AGENT),
            variables={},
            model="gpt-realtime",
            transcription_model="gpt-4o-mini-transcribe",
            transport=Transport.WEBRTC,
        )
        first = (await caller.token()).took_ms
        for turn in range(times + _WARM_UP):
            found = (
                (await caller.token()).took_ms,
                await caller.health(),
                await _start_orchestration(stage, caller),
                (await caller.mint(session))[0],
            )
            if turn >= _WARM_UP:
                for values, value in zip((tokens, healths, engines, secrets), found, strict=True):
                    values.append(value)
    floor = [sum(parts) for parts in zip(healths, engines, secrets, strict=True)]
    ours = [whole - least for whole, least in zip(tokens, floor, strict=True)]
    return Report(
        name="token",
        title=TITLE,
        rows=(
            row(_TOKEN, "ms", tokens, against=_FLOOR),
            row(_HEALTH, "ms", healths),
            row(_ENGINE, "ms", engines),
            row(_SECRET, "ms", secrets),
            row(_FLOOR, "ms", floor),
            row("ours: the request without these three", "ms", ours),
            row("the first token request of a fresh host", "ms", [first]),
        ),
        notes=(
            "Ours are the limits, the session's record, the agent's prompt and the openai SDK. In Azure the "
            "realtime service's part is many times the emulator's. The first request imports what the app "
            "does not need to start: redis, pydantic, the openai SDK, the agents.",
        ),
    )


async def _start_orchestration(stage: Stage, caller: Caller) -> float:
    """Look whether an id is free and start `session_lifecycle` under it, as the token request does."""
    base = f"{stage.functions_url}/runtime/webhooks/durabletask"
    headers = {"x-functions-key": stage.extension_key}
    session_id = new_session_id()
    given = {"session_id": session_id, "connect_within_s": 3600, "max_duration_s": 3600, "traceparent": ""}
    looked = await caller.status(f"{base}/instances/{session_id}", headers)
    started, _ = await caller.timed(
        "POST", f"{base}/orchestrators/session_lifecycle/{session_id}", headers=headers, body=given
    )
    return looked + started
