from __future__ import annotations

import io
import os
import socket
from pathlib import Path

import pytest

from emulators.local import doctor
from emulators.local.addresses import Addresses
from emulators.local.doctor import Finding, Verdict
from tests.support.ports import free_port


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """An environment without settings, and free ports."""
    monkeypatch.setattr("emulators.local.stack.given_settings.__defaults__", (tmp_path / "none.env",))
    ports = ("REDIS", "REALTIME", "FUNCTIONS", "WORKER", "COMMUNICATION", "TRACES")
    return {"PATH": os.environ["PATH"]} | {f"SIDETONE_PORT_{name}": str(free_port()) for name in ports}


@pytest.mark.parametrize(
    ("version", "verdict"),
    [((3, 10), "fail"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "fail")],
)
def test_python(version: tuple[int, int], verdict: Verdict) -> None:
    finding = doctor.check_python(version)

    assert finding.verdict == verdict
    assert ("PYTHON=python3.12" in finding.remedy) == (verdict == "fail")


def test_packages_must_come_from_the_lock_file_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "requirements-dev.txt").write_text("a==1\n")
    assert doctor.check_packages(tmp_path).found == "not installed"

    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "installed-lock.txt").write_text("a==0\n")
    stale = doctor.check_packages(tmp_path)
    assert (stale.verdict, stale.remedy) == ("fail", "make setup")

    (tmp_path / ".venv" / "installed-lock.txt").write_text("a==1\n")
    assert doctor.check_packages(tmp_path).verdict == "ok"


def test_redis_is_found_with_its_version_or_named_by_the_setting() -> None:
    assert doctor.check_redis({}).found[0].isdigit()
    assert doctor.check_redis({"REDIS_URL": "redis://x"}).found == "the one that REDIS_URL names"


def test_a_redis_that_does_not_run_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    finding = doctor.check_redis({})

    assert (finding.verdict, "exit status 7" in finding.found) == ("fail", True)


def test_ports_name_the_one_that_is_taken_unless_by_the_stack_itself(
    bare: dict[str, str], tmp_path: Path
) -> None:
    assert doctor.check_ports(bare, tmp_path).found == "free"

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(bare["SIDETONE_PORT_WORKER"])))
        holder.listen()
        taken = doctor.check_ports(bare, tmp_path)
        assert taken.verdict == "fail"
        assert "for the worker's health endpoints is taken" in taken.found
        assert "SIDETONE_PORT_WORKER" in taken.remedy

        Addresses(
            pid=os.getpid(),
            functions_url="",
            function_key="",
            worker_url="",
            realtime_url="",
            redis_url="",
            traces_url="",
        ).write(tmp_path)
        assert doctor.check_ports(bare, tmp_path).found == f"in use by the running stack (pid {os.getpid()})"


def test_a_missing_browser_is_a_warning() -> None:
    assert doctor.check_browser(lambda name: None).verdict == "warn"
    assert doctor.check_browser(lambda name: f"/bin/{name}" if name == "google-chrome" else None) == Finding(
        subject="browser", verdict="ok", found="/bin/google-chrome"
    )


def test_few_processors_are_a_warning() -> None:
    assert [doctor.check_cores(count).verdict for count in (None, 1, 2)] == ["warn", "warn", "ok"]


def test_settings_are_those_of_make_run(bare: dict[str, str], tmp_path: Path) -> None:
    before = dict(os.environ)

    (good,) = doctor.check_settings(bare, tmp_path)
    (real,) = doctor.check_settings({**bare, "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com"}, tmp_path)
    (wrong,) = doctor.check_settings({**bare, "MAX_SESSIONS": "many"}, tmp_path)

    assert good.found == "valid; all local"
    assert real.found == "valid; real services instead of the emulators: realtime"
    assert (wrong.verdict, wrong.found) == ("fail", "MAX_SESSIONS: must be a whole number")
    assert wrong.remedy == "Example: MAX_SESSIONS=100"
    assert dict(os.environ) == before


def test_an_agents_directory_without_agents_is_told(tmp_path: Path) -> None:
    finding = doctor.check_agents(tmp_path)

    assert finding.verdict == "fail"
    assert "make check" in finding.remedy


def test_findings_are_one_line_each_with_the_remedy_below() -> None:
    output = io.StringIO()
    doctor.show(
        [
            Finding(subject="Python", verdict="ok", found="3.11"),
            Finding(subject="browser", verdict="warn", found="none", remedy="install chromium"),
        ],
        output,
    )

    assert output.getvalue() == ("ok   Python   3.11\nwarn browser  none\n              install chromium\n")
