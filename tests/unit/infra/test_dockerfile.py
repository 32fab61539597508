"""The worker's Dockerfile."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from shared.settings import WorkerSettings
from tests.unit.infra.bicep_text import REPOSITORY

DOCKERFILE = REPOSITORY / "realtime_worker" / "Dockerfile"
TEXT = re.sub(
    r"\\\n\s*",
    "",
    "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")),
)
LAST_STAGE = TEXT.rpartition("\nFROM ")[2]


def test_it_has_no_known_weakness() -> None:
    ran = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", DOCKERFILE],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_base_is_an_argument_with_a_version() -> None:
    base = re.search(r"^ARG BASE_IMAGE=(\S+)$", TEXT, re.MULTILINE)
    assert base
    assert re.search(r"python:3\.1[123]-slim-\w+$", base[1])
    assert re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE) == ["${BASE_IMAGE}"] * 2


def test_the_last_stage_installs_nothing_and_runs_as_nobody_special() -> None:
    assert "pip" not in LAST_STAGE
    assert "apt-get" not in LAST_STAGE
    assert re.search(r"^USER [1-9]\d{3,}$", LAST_STAGE, re.MULTILINE), "by number, and not root"
    assert not re.search(r"^COPY (?!--from=build)", LAST_STAGE, re.MULTILINE)


def test_packages_are_the_locked_ones() -> None:
    assert "--require-hashes" in TEXT
    assert "requirements-worker.txt" in TEXT


def test_it_is_watched_and_told_to_stop() -> None:
    assert re.search(r"^HEALTHCHECK .*/health", LAST_STAGE, re.MULTILINE)
    assert 'CMD ["python", "-m", "realtime_worker"]' in LAST_STAGE, (
        "without a shell, which would keep SIGTERM"
    )
    port = str(WorkerSettings.model_fields["worker_port"].default)
    assert f"WORKER_PORT={port}" in LAST_STAGE
    assert f"EXPOSE {port}" in LAST_STAGE
