"""The app in the local host with the emulator of Communication Services; the tests are the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from shared.security.tokens import TokenRing
from tests.integration.telephony.media_endpoint import MediaEndpoint
from tests.integration.telephony.stage import AGENTS, Stage
from tests.support.carrier_line import CarrierLine
from tests.support.ports import free_port
from tests.support.stack import RunningFunctions, Stack

CARRIER_OPTIONS = (
    *("--event-grid-attempts", "6", "--event-grid-retry-delay", "0.05"),
    *("--callback-attempts", "8", "--callback-retry-delay", "0.05"),
    *("--media-reconnects", "0", "--ring-seconds", "30"),
)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("telephony")) as running:
        running.start_redis()
        running.pretend_worker()
        running.start_communication(*CARRIER_OPTIONS)
        yield running


def start_app(stack: Stack, media_url: str, *, name: str = "functions", **settings: str) -> RunningFunctions:
    """Start the app, where the carrier can call it back."""
    port = str(free_port())
    acs = stack.acs_settings(f"http://127.0.0.1:{port}", media_url)
    return stack.start_functions(
        name=name,
        options=("--port", port),
        **{
            **acs,
            "AGENTS_DIR": str(AGENTS),
            "CONNECT_TIMEOUT_S": "60",
            "OUTBOUND_CALLS_PER_MINUTE": "1000",
            "CALL_CONTROL_PER_MINUTE": "1000",
            **settings,
        },
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_stage(stack: Stack) -> AsyncIterator[Stage]:
    ring = TokenRing(stack.signing_keys)
    media = MediaEndpoint(ring)
    async with (
        media.serving(),
        aiohttp.ClientSession() as http,
        Redis.from_url(stack.redis_url, decode_responses=True) as redis,
    ):
        functions = start_app(stack, media.url)
        line = CarrierLine(stack.acs_url, http)
        await line.subscribe(functions.event_grid_url("incoming_call"), "incoming-calls")
        yield Stage(stack=stack, functions=functions, line=line, media=media, redis=redis, ring=ring)


@pytest_asyncio.fixture(loop_scope="session")
async def stage(shared_stage: Stage) -> AsyncIterator[Stage]:
    """The stage, without faults or refusals of other tests."""
    shared_stage.media.refuse = 0
    yield shared_stage
    await shared_stage.line.forget_faults()
