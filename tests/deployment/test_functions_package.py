"""The Functions app as Azure runs it: the package that azd sends, its own requirements, and nothing else."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.deployment.processes import Process
from tests.support.packages import REPOSITORY, write_package
from tests.support.stack import Stack


@pytest.mark.timeout(900)
async def test_the_package_starts_and_answers_a_token_request(
    stack: Stack, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    package = write_package(tmp_path / "package.zip")
    app = tmp_path / "app"
    with zipfile.ZipFile(package) as sent:
        sent.extractall(app)
    python = _environment_with(app / "requirements.txt", tmp_path / "venv")
    # The host alone comes from here, in place of Azure's; it must not bring the app along.
    host = tmp_path / "host"
    shutil.copytree(
        REPOSITORY / "emulators", host / "emulators", ignore=shutil.ignore_patterns("__pycache__")
    )
    key = secrets.token_urlsafe(16)
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"host": {"default": key}}))
    stack.pretend_worker()
    began = time.monotonic()
    command = [
        str(python), "-m", "emulators", "functions", str(app), "--port", "0",
        "--db", str(tmp_path / "durable.db"), "--auth", "--keys", str(keys),
    ]  # fmt: skip
    environment = stack.environment(PYTHONPATH=str(host), VIRTUAL_ENV="")
    with Process(command, environment, host, tmp_path / "functions.log") as functions:
        started_s = time.monotonic() - began
        async with aiohttp.ClientSession() as http:
            url = f"{functions.url}/api/v1/token"
            body = {"agent": "member_services"}
            async with http.post(url, json=body) as refused:
                assert refused.status == 401, "keys are checked"
            async with http.post(url, json=body, headers={"x-functions-key": key}) as answer:
                token = await answer.json()
                assert answer.status in (200, 201), (token, functions.log.read_text()[-4000:])
        assert token["client_secret"]["value"].startswith("ek_")
        assert functions.stop() == 0
    installed = sum(path.stat().st_size for path in (tmp_path / "venv").rglob("*") if path.is_file())
    record_property(
        "figure",
        f"{package.stat().st_size / 1000:.0f} kB zipped, {installed / 1e6:.0f} MB installed, "
        f"ready after {started_s:.1f} s",
    )


def _environment_with(requirements: Path, venv: Path) -> Path:
    """Make an environment as the remote build does; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / "bin" / "python"
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--require-hashes", "-r", str(requirements)],
        check=True,
    )  # fmt: skip
    return python
