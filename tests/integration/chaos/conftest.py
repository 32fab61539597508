"""A fleet whose control plane takes down what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.chaos.fleet import Fleet
from tests.integration.worker.stage import ControlPlaneStandIn


@pytest.fixture
async def control_plane() -> AsyncIterator[ControlPlaneStandIn]:
    stand_in = ControlPlaneStandIn()
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


@pytest.fixture
async def fleet(tmp_path: Path, control_plane: ControlPlaneStandIn) -> AsyncIterator[Fleet]:
    async with Fleet(tmp_path, control_plane_port=control_plane.port) as fleet:
        yield fleet
        print(fleet.tail())  # shown where the test fails
