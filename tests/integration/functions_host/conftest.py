"""A running host over the sample app, once with each executor."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.functions_host import FunctionsHost, HostClient
from tests.support.second_executor import host_python_313

SAMPLE_APP = Path(__file__).parent / "sample_app"
EXECUTORS = ("plain", "azure-runtime")
LOCAL_SETTINGS = {
    "IsEncrypted": False,
    "Values": {"HOURLY": "0 0 * * * *", "FROM_LOCAL_SETTINGS": "yes"},
    "Host": {"CORS": "https://portal.example"},
}


def make_host(directory: Path, executor: str = "plain", options: tuple[str, ...] = ()) -> FunctionsHost:
    """Copy the sample app into `directory` and return a host for it, not started; may skip."""
    python = sys.executable
    if executor != "plain":
        found, reason = host_python_313()
        if found is None:
            pytest.skip(reason)
        python = found
    directory.mkdir(exist_ok=True)
    app_dir = directory / "app"
    shutil.copytree(SAMPLE_APP, app_dir, ignore=shutil.ignore_patterns("__pycache__"))
    (app_dir / "local.settings.json").write_text(json.dumps(LOCAL_SETTINGS), encoding="utf-8")
    return FunctionsHost(
        app_dir=app_dir, state_dir=directory, python=python, options=("--executor", executor, *options)
    )


@pytest.fixture(scope="session", params=EXECUTORS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionsHost]:
    """One host for many tests: they use ids and keys of their own."""
    running = make_host(tmp_path_factory.mktemp("host"), request.param)
    running.start()
    yield running
    assert running.stop() == 0, "\n".join(running.output[-50:])


@pytest.fixture
async def client(host: FunctionsHost) -> AsyncIterator[HostClient]:
    async with host.client() as asking:
        yield asking


@pytest.fixture
def new_host(tmp_path: Path) -> Iterator[Callable[..., FunctionsHost]]:
    """Make hosts of one's own, to be killed, restarted or given options; they end with the test."""
    made: list[FunctionsHost] = []

    def make(*options: str, executor: str = "plain") -> FunctionsHost:
        made.append(make_host(tmp_path / f"host{len(made)}", executor, options))
        return made[-1]

    yield make
    for running in made:
        running.kill()
