"""The worker's image, built and run beside the local stack: it takes a call, and SIGTERM ends it well."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.deployment.processes import Process
from tests.integration.functions.api_client import OFFER
from tests.support.eventually import eventually
from tests.support.packages import REPOSITORY
from tests.support.ports import free_port
from tests.support.stack import Stack

TAG = "localhost/sidetone-worker:test"


def _docker_runs() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True).returncode == 0


ENGINE = os.environ.get("IMAGE_ENGINE") or ("docker" if _docker_runs() else "buildah")
BUILDAH = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}


@dataclass(frozen=True)
class Image:
    """What was built, and how long that took."""

    size: int
    built_in_s: float
    config: dict[str, object]


@pytest.fixture(scope="module")
def image() -> Image:
    began = time.monotonic()
    built = subprocess.run(
        ["sh", "scripts/worker_image.sh", TAG],
        cwd=REPOSITORY, env={**os.environ, "IMAGE_ENGINE": ENGINE}, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    took_s = time.monotonic() - began
    if ENGINE == "buildah":
        told = json.loads(_engine("inspect", "--type", "image", TAG))
        container = _engine("from", TAG).strip()
        try:
            root = Path(_engine("mount", container).strip())
            size = sum(
                path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink()
            )
        finally:
            _engine("rm", container)
        return Image(size=size, built_in_s=took_s, config=told["Docker"]["config"])
    (told,) = json.loads(_engine("image", "inspect", TAG))
    return Image(size=told["Size"], built_in_s=took_s, config=told["Config"])


def _engine(*arguments: str) -> str:
    environment = {**os.environ, **(BUILDAH if ENGINE == "buildah" else {})}
    ran = subprocess.run([ENGINE, *arguments], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def container(image: Image) -> Iterator[str]:
    """Return the name of a container that is removed afterwards."""
    if ENGINE == "buildah":
        name = _engine("from", TAG).strip()
        yield name
        _engine("rm", name)
    else:
        yield f"sidetone-worker-{os.getpid()}"


def _command(container: str, settings: dict[str, str]) -> list[str]:
    given = [text for name, value in settings.items() for text in ("--env", f"{name}={value}")]
    if ENGINE == "buildah":  # it runs a command, and knows nothing of the image's own
        return ["buildah", "run", *given, container, "--", "python", "-m", "realtime_worker"]
    return [ENGINE, "run", "--rm", "--name", container, "--network", "host", *given, TAG]


@pytest.mark.timeout(1800)
def test_what_the_image_says_of_itself(image: Image, record_property: Callable[[str, object], None]) -> None:
    assert image.config["User"] == "10001"
    assert image.config["Cmd"] == ["python", "-m", "realtime_worker"]
    assert "/health" in str(image.config["Healthcheck"])
    record_property("figure", f"{ENGINE}: {image.size / 1e6:.0f} MB, built in {image.built_in_s:.0f} s")


@pytest.mark.timeout(600)
async def test_a_call_is_taken_and_sigterm_ends_it_well(
    stack: Stack, container: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    functions = stack.start_functions()
    settings = stack.environment(
        CONTROL_PLANE_URL=functions.url,
        WORKER_PORT=str(free_port()),
        DRAIN_S="0",
        SCALE_KEY="the scaler's",
        SPARE_SESSIONS="7",
    )
    for name in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"):  # the image has its own
        settings.pop(name, None)
    began = time.monotonic()
    outer = {**os.environ, **(BUILDAH if ENGINE == "buildah" else {})}
    with Process(_command(container, settings), outer, REPOSITORY, tmp_path / "worker.log") as worker:
        started_s = time.monotonic() - began
        headers = {"x-functions-key": functions.key}
        async with aiohttp.ClientSession(headers=headers) as http:
            async with http.post(
                f"{functions.api}/sessions?agent=member_services",
                data=OFFER.encode(),
                headers={"Content-Type": "application/sdp"},
            ) as answer:
                assert answer.status == 201, await answer.text()
                session_id = answer.headers["Location"].rpartition("/")[2]

            async def taken() -> bool:
                async with http.get(f"{functions.api}/sessions/{session_id}") as told:
                    return (await told.json())["state"] == "active"

            await eventually(taken, what="the worker in the container has the call")
            async with http.get(f"{worker.url}/load", headers={"x-scale-key": "the scaler's"}) as told:
                assert await told.json() == {"wanted": 8, "held": 1, "waiting": 0, "spare": 7}
            async with http.get(f"{worker.url}/ready") as told:
                assert await told.json() == {"status": "ready"}
        user = _inner(worker).uids().real if ENGINE == "buildah" else 10001
        assert user == 10001
        _stop(container, worker)
    assert "worker stopped" in worker.log.read_text()
    record_property("figure", f"ready after {started_s:.1f} s")


def _inner(worker: Process) -> psutil.Process:
    """Return the worker itself, inside of what buildah wraps around it."""
    return psutil.Process(worker.pid).children(recursive=True)[-1]


def _stop(container: str, worker: Process) -> None:
    """Have the platform's SIGTERM reach the first process, as a container engine does."""
    if ENGINE == "buildah":  # which passes no signals on
        _inner(worker).send_signal(signal.SIGTERM)
    else:
        _engine("stop", "--time", "30", container)
    assert worker.wait() == 0, worker.log.read_text()
