"""The stage of a worker test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from emulators.redis_server import RunningRedis
from tests.integration.worker.stage import Stage


@pytest.fixture
async def stage(
    redis_server: RunningRedis, redis_client: redis.asyncio.Redis, tmp_path: Path
) -> AsyncIterator[Stage]:
    """A worker that holds leases for one second, so that tests need not wait long."""
    async with Stage(redis_server.port, tmp_path, {"LEASE_TTL_S": "1.0", "LEASE_RENEW_S": "0.3"}) as stage:
        yield stage
