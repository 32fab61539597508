"""The Functions app in the local host, with a real Redis and the realtime emulator; no worker.

The tests play the worker where one is needed: it is the other side of Redis and of two routes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio

from shared.security.tokens import TokenRing
from tests.integration.functions.api_client import Api
from tests.support.stack import RunningFunctions, Stack

AGENTS = Path(__file__).parent / "agents"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        running.start_redis()
        running.pretend_worker()
        running.start_realtime("--no-speech", "--no-media")
        yield running


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger") / "ledger"


@pytest.fixture(scope="module")
def functions(stack: Stack, ledger: Path) -> RunningFunctions:
    """The app with limits that are out of the way."""
    return stack.start_functions(
        keys=("default", "other"),
        AGENTS_DIR=str(AGENTS),
        LEDGER=str(ledger),
        TOKEN_RATE_PER_MINUTE="10000",
        MAX_LIVE_SESSIONS_PER_PRINCIPAL="10000",
        ATTACH_WAIT_S="3",
    )


@pytest.fixture
def api(functions: RunningFunctions) -> Api:
    return Api.application(functions)


@pytest.fixture
def ring(stack: Stack) -> TokenRing:
    return TokenRing(stack.signing_keys)


@pytest.fixture
def worker_api(functions: RunningFunctions, ring: TokenRing) -> Api:
    return Api.bearer(functions, ring.issue_service_token("worker-1"))


@pytest.fixture
async def redis_db(stack: Stack) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.from_url(stack.redis_url, decode_responses=True)
    yield client
    await client.aclose()
