"""A service that echoes, a carrier that signs, and a worker between them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from tests.integration.media.in_process import Worker, working
from tests.support.acs_signer import AcsSigner
from tests.support.echo_service import EchoService


@pytest.fixture(scope="session")
def keyed_signer() -> AcsSigner:
    """Keys take a while to make."""
    return AcsSigner()


@pytest.fixture
async def signer(keyed_signer: AcsSigner) -> AsyncIterator[AcsSigner]:
    async with keyed_signer.serving():
        yield keyed_signer


@pytest.fixture
async def service() -> AsyncIterator[EchoService]:
    service = EchoService()
    async with service.serving():
        yield service


@pytest.fixture
async def worker(
    redis_client: redis.asyncio.Redis, service: EchoService, signer: AcsSigner
) -> AsyncIterator[Worker]:
    async with working(redis_client, service, signer) as worker:
        yield worker
