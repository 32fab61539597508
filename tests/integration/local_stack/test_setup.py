"""`make setup` in a copy of the few files that it reads: its refusals, and that it is idempotent."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout without an environment, whose lock file locks nothing."""
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts")
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    (tmp_path / "requirements-dev.txt").write_text("# nothing\n")
    return tmp_path


def fake_python(directory: Path, name: str, version: str, *, exit_code: int = 0) -> Path:
    directory.mkdir(exist_ok=True)
    script = directory / name
    script.write_text(f"#!/bin/sh\necho {version}\nexit {exit_code}\n")
    script.chmod(0o755)
    return script


def make_setup(copy: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/bin/env", "make", "setup"],
        cwd=copy,
        env={"PATH": "/usr/bin:/bin", "HOME": str(copy), "PYENV_ROOT": str(copy / "none"), **variables},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_an_old_python_is_one_sentence(copy: Path) -> None:
    old = fake_python(copy / "bin", "python3.9", "3.9")

    done = make_setup(copy, PYTHON=str(old))

    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        f"setup: PYTHON={old} is Python 3.9; Sidetone needs 3.11, 3.12 or 3.13."
    )
    assert not (copy / ".venv").exists()


def test_a_python_that_does_not_run_is_one_sentence(copy: Path) -> None:
    done = make_setup(copy, PYTHON="/no/such/python")

    assert done.stderr.splitlines()[0] == (
        "setup: PYTHON=/no/such/python does not run; name a Python 3.11, 3.12 or 3.13."
    )


def test_without_any_suitable_python_the_ones_seen_are_named(copy: Path) -> None:
    tools = copy / "bin"
    fake_python(tools, "python3", "3.10")
    fake_python(tools, "python3.12", "3.12", exit_code=127)  # a shim that refuses
    for name in ("make", "sh", "dirname", "cmp", "grep", "env"):
        (tools / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")

    done = make_setup(copy, PATH=str(tools))

    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        "setup: no Python 3.11, 3.12 or 3.13 found (python3 is 3.10, looked on PATH): "
        "install one, or name it with PYTHON=/path/to/python."
    )


def test_it_does_nothing_until_the_lock_file_changes_and_tries_again_what_failed(copy: Path) -> None:
    first = make_setup(copy, PYTHON=sys.executable)
    assert first.returncode == 0, first.stderr
    assert "installing 0 locked packages" in first.stdout

    assert make_setup(copy).stdout == ""
    assert make_setup(copy, PYTHON=sys.executable).stdout == ""

    (copy / "requirements-dev.txt").write_text("no-hash==1\n")
    broken = make_setup(copy, PIP_NO_INDEX="1")
    assert broken.returncode != 0
    assert "setup: the locked packages could not be installed (see above)" in broken.stderr
    assert "Traceback" not in broken.stderr

    (copy / "requirements-dev.txt").write_text("# nothing\n")
    mended = make_setup(copy)
    assert mended.returncode == 0
    assert "making .venv" not in mended.stdout
    assert "installing 0 locked packages" in mended.stdout
