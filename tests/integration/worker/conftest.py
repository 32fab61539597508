"""The stages of worker tests: one that tests share, and one for those that break the worker itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.worker.stage import Stage

# Leases of a second, so that tests need not wait long; attaching gives up soon.
SETTINGS = {"LEASE_TTL_S": "1.0", "LEASE_RENEW_S": "0.3", "ATTACH_TIMEOUT_S": "6"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with Stage(tmp_path_factory.mktemp("stage"), SETTINGS) as stage:
        yield stage


@pytest_asyncio.fixture(loop_scope="module")
async def stage(shared_stage: Stage) -> AsyncIterator[Stage]:
    """The module's worker, without the faults and refusals of the test before."""
    yield shared_stage
    await shared_stage.forget_faults()
    shared_stage.control_plane.forget()
    await shared_stage.tell()


@pytest.fixture
async def own_stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A worker that the test may stop and kill."""
    async with Stage(tmp_path, SETTINGS) as stage:
        yield stage
        await stage.tell()
