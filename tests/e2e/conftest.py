"""Ports and a directory of its own for each local stack."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from emulators.local.ports import Ports
from tests.support.local_run import Run, run_stack
from tests.support.ports import free_port


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    ports = {f"SIDETONE_PORT_{name.upper()}": str(free_port()) for name in Ports().__dict__}
    return {**os.environ, **ports, "SIDETONE_RUN_DIR": str(tmp_path / "run"), "NO_COLOR": "1"}


@pytest.fixture
def running(environment: dict[str, str], tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Run]]:
    """`python -m emulators run` with these options."""
    return lambda *options: run_stack(environment, tmp_path, *options)
