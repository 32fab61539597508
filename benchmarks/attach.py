"""From the report of a call to a worker that holds its sideband."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import orjson
from redis.asyncio import Redis

from benchmarks.calls import AGENT, Caller
from benchmarks.measures import Report, row
from benchmarks.stage import Stage, only_entry
from shared.agents.catalog import load_agents
from shared.providers.session_config import realtime_session, session_update
from shared.session.codec import LOG
from shared.session.log import Archived, Attached, LogEntry, StateChanged
from shared.session.model import SessionState, Transport
from shared.store.keys import SessionKeys

TITLE = "POST /api/v1/sessions/{id}/call"

_BARE = "bare client that connects and configures"
_HEALTH = "health request to the same host"
_WITHIN_MS = 30_000
_WARM_UP = 3


async def measure(directory: Path, *, quick: bool) -> Report:
    """Place calls one after the other with everything real but the model."""
    times = 10 if quick else 80
    answered: list[float] = []
    active: list[float] = []
    confirmed: list[float] = []
    bare: list[float] = []
    healths: list[float] = []
    async with Stage(directory) as stage, aiohttp.ClientSession() as http:
        await stage.start_realtime()
        await stage.start_functions()
        await stage.start_worker()
        caller = Caller(stage, http)
        configuration = realtime_session(
            load_agents(stage.agents).get(AGENT),
            variables={},
            model="gpt-realtime",
            transcription_model="gpt-4o-mini-transcribe",
            transport=Transport.WEBRTC,
        )
        for turn in range(times + _WARM_UP):
            measured = await _one_call(stage, caller)
            floor = await _bare_attach(stage, caller, http, configuration)
            health = await caller.health()
            if turn >= _WARM_UP:
                for values, value in zip(
                    (answered, active, confirmed, bare, healths), (*measured, floor, health), strict=True
                ):
                    values.append(value)
    return Report(
        name="attach",
        title=TITLE,
        rows=(
            row("POST …/call until the sideband is ready", "ms", active, against=_BARE),
            row("POST …/call until it answers", "ms", answered, against=_HEALTH),
            row("the worker's own figure (Attached.took_ms)", "ms", confirmed),
            row(_BARE, "ms", bare),
            row(_HEALTH, "ms", healths),
        ),
        notes=(
            "Ready: the log holds the session as active. The bare client connects to a call, sends "
            "session.update and reads session.updated.",
            "Attached.took_ms counts from the open socket to the confirmed configuration.",
        ),
    )


async def _one_call(stage: Stage, caller: Caller) -> tuple[float, float, float]:
    """Return milliseconds until the API answered, until the log said active, and Attached.took_ms."""
    grant = await caller.token()
    call_id = await caller.dial(grant.calls_url, grant.client_secret)
    log = _Log(stage.redis, grant.session_id)
    began = time.perf_counter()
    answered = await caller.report(grant, call_id)
    took_ms = -1.0
    while True:
        entry = await log.next()
        if isinstance(entry, Attached):
            took_ms = entry.took_ms
        if isinstance(entry, StateChanged) and entry.state == SessionState.ACTIVE:
            break
    active = (time.perf_counter() - began) * 1000
    await caller.hang_up(grant)
    # What one call leaves to do must not slow the next one.
    while not isinstance(await log.next(), Archived):
        pass
    while await stage.sessions_held():
        pass
    return answered, active, took_ms


async def _bare_attach(
    stage: Stage, caller: Caller, http: aiohttp.ClientSession, configuration: Mapping[str, object]
) -> float:
    """Attach to a call with nothing but a WebSocket client; return the milliseconds."""
    _, secret = await caller.mint(configuration)
    base = f"{stage.provider_url}/openai/v1/realtime"
    call_id = await caller.dial(f"{base}/calls", secret)
    update = orjson.dumps(session_update(configuration, event_id="cfg_floor")).decode()
    url = f"{base.replace('http', 'ws', 1)}?call_id={call_id}"
    began = time.perf_counter()
    async with http.ws_connect(url, headers={"api-key": stage.api_key}, compress=0) as socket:
        await socket.send_str(update)
        async for message in socket:
            if orjson.loads(message.data)["type"] == "session.updated":
                break
        took = (time.perf_counter() - began) * 1000
    await caller.timed("POST", f"{base}/calls/{call_id}/hangup", headers={"api-key": stage.api_key})
    return took


class _Log:
    """Follows a session's event log without polling."""

    def __init__(self, redis: Redis, session_id: str) -> None:
        self._redis = redis
        self._key = SessionKeys(session_id).log
        self._after = "0-0"

    async def next(self) -> LogEntry:
        """Return the next entry; raise TimeoutError when there is none for half a minute."""
        found = await self._redis.xread({self._key: self._after}, count=1, block=_WITHIN_MS)
        self._after, fields = only_entry(found)
        return LOG.decode(fields["entry"])
