"""Setting up the second executor: which interpreter is taken, what the lock file holds."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support import second_executor


def fake_python(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.skipif(sys.version_info[:2] == (3, 13), reason="this very interpreter would be taken")
def test_a_shim_that_does_not_run_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path / "bin" / "python3.13", "echo 'python3.13: command not found' >&2; exit 127")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert second_executor.find_python_313() is None
    installed = tmp_path / ".pyenv" / "versions" / "3.13.9" / "bin" / "python3.13"
    fake_python(installed, "echo 3.13")
    assert second_executor.find_python_313() == str(installed)


def test_a_lock_file_that_changed_asks_for_a_new_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("a==1", encoding="utf-8")
    monkeypatch.setattr(second_executor, "LOCK_FILE", lock)
    monkeypatch.setattr(second_executor, "ENVIRONMENT", tmp_path / "env")
    fake_python(tmp_path / "env" / "bin" / "python", "true")
    python, reason = second_executor.host_python_313()
    assert (python, bool(reason)) == (None, True)
    (tmp_path / "env" / "lock-file.sha256").write_text(second_executor._lock_digest(), encoding="utf-8")
    assert second_executor.host_python_313() == (str(tmp_path / "env" / "bin" / "python"), "")
    lock.write_text("a==2", encoding="utf-8")
    assert second_executor.host_python_313()[0] is None


def test_the_lock_file_holds_the_app_s_needs_and_the_worker_library() -> None:
    def names(file: str) -> set[str]:
        text = (second_executor.REPOSITORY / file).read_text(encoding="utf-8")
        return {n.lower() for n in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)}

    app_needs = names("requirements.txt")
    assert "azure-functions-runtime" in names("requirements-host313.txt")
    only_older_pythons = app_needs - names("requirements-host313.txt")
    assert only_older_pythons <= {"async-timeout", "typing-extensions", "importlib-metadata", "zipp"}
    assert "://" not in second_executor.LOCK_FILE.read_text(encoding="utf-8")
