"""Set up Microsoft's worker library as the second executor of the local Functions host.

`azure-functions-runtime` is the library that runs Python functions in Azure; it needs
Python 3.13 or later. `python -m tests.support.second_executor` makes `.venv313` in the
repository from `requirements-host313.txt` when the machine has a Python 3.13; otherwise it
says so and ends well, and the tests that want it are skipped. Run again, it does nothing
unless the lock file has changed. Tests only look (`host_python_313`); they never install.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK_FILE = REPOSITORY / "requirements-host313.txt"
ENVIRONMENT = REPOSITORY / ".venv313"
NO_PYTHON = "no Python 3.13 on this machine (looked on PATH and in ~/.pyenv/versions)"
NOT_SET_UP = "Azure's own worker library is not set up: `make test-runtime` does that, and runs these"


def find_python_313() -> str | None:
    """Return a Python 3.13 that really runs (a pyenv shim may only look as if it did)."""
    for candidate in _candidates():
        try:
            told = subprocess.run(
                [candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if told.returncode == 0 and told.stdout.strip() == "3.13":
            return candidate
    return None


def _candidates() -> Iterator[str]:
    if sys.version_info[:2] == (3, 13):
        yield sys.executable
    for name in ("python3.13", "python3", "python"):
        found = shutil.which(name)
        if found:
            yield found
    yield from (
        str(p) for p in sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python3.13"), reverse=True)
    )


def host_python_313() -> tuple[str | None, str]:
    """Return the second executor's interpreter, or None and a reason to skip."""
    python = _python_in_environment()
    if python.exists() and _stamp().exists() and _stamp().read_text(encoding="utf-8") == _lock_digest():
        return str(python), ""
    return None, NOT_SET_UP if find_python_313() else NO_PYTHON


def set_up() -> int:
    """Make or refresh the environment; 0 also when there is no Python 3.13, 1 when installing failed."""
    if host_python_313()[0]:
        print(f"second executor: ready in {ENVIRONMENT.name}")
        return 0
    python = find_python_313()
    if python is None:
        print(f"second executor: skipped, {NO_PYTHON}")
        return 0
    print(f"second executor: installing into {ENVIRONMENT.name} ...", flush=True)
    install = [
        str(_python_in_environment()),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--quiet",
        "--require-hashes",
        "--no-deps",
    ]
    steps = (
        [python, "-m", "venv", "--clear", str(ENVIRONMENT)],
        [*install, "--disable-pip-version-check", "-r", str(LOCK_FILE)],
    )
    for step in steps:
        done = subprocess.run(step, cwd=REPOSITORY, check=False)
        if done.returncode != 0:
            print(
                f"second executor: failed with exit code {done.returncode}: {' '.join(step)}", file=sys.stderr
            )
            return 1
    _stamp().write_text(_lock_digest(), encoding="utf-8")
    print("second executor: ready")
    return 0


def _python_in_environment() -> Path:
    return ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _stamp() -> Path:
    return ENVIRONMENT / "lock-file.sha256"


def _lock_digest() -> str:
    return hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(set_up())
