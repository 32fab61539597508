"""Tests of what is deployed, as it is deployed. They install and build, so they have to be asked for:
`make package-test`, `make image-test`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave them out of every run that does not ask for them."""
    if os.environ.get("DEPLOYMENT_TESTS") == "1":
        return
    asked_for = pytest.mark.skip(reason="make package-test, make image-test")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(asked_for)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path / "stack") as running:
        running.start_redis()
        running.start_realtime("--no-speech", "--no-media")
        yield running
