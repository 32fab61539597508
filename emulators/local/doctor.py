"""Is this machine ready? One line a check, with the remedy where something is wrong: `make doctor`."""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from rich.console import Console
from rich.text import Text

from emulators.local.addresses import REPOSITORY, Addresses, run_directory
from emulators.local.errors import LocalStackError
from emulators.local.ports import Ports
from emulators.local.stack import given_settings, plan
from emulators.redis_server import RedisUnavailableError, find_redis_server

Verdict = Literal["ok", "warn", "fail"]
_STYLES: Mapping[Verdict, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found. `remedy` says what to do unless all is well."""

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Check the interpreter's version."""
    found = f"{version[0]}.{version[1]} at {sys.executable}"
    if (3, 11) <= version <= (3, 13):
        return Finding(subject="Python", verdict="ok", found=found)
    return Finding(
        subject="Python",
        verdict="fail",
        found=found,
        remedy="3.11 to 3.13 is needed: make setup PYTHON=python3.12",
    )


def check_packages(repository: Path = REPOSITORY) -> Finding:
    """Check that .venv was installed from the lock file as it is now."""
    installed = repository / ".venv" / "installed-lock.txt"
    lock = repository / "requirements-dev.txt"
    if not installed.exists():
        return Finding(subject="packages", verdict="fail", found="not installed", remedy="make setup")
    if not filecmp.cmp(installed, lock, shallow=False):
        return Finding(
            subject="packages",
            verdict="fail",
            found="installed from another version of requirements-dev.txt",
            remedy="make setup",
        )
    return Finding(subject="packages", verdict="ok", found="as locked in requirements-dev.txt")


def check_redis(given: Mapping[str, str]) -> Finding:
    """Check that there is a Redis server to start, unless REDIS_URL names one."""
    if "REDIS_URL" in given:
        return Finding(subject="Redis", verdict="ok", found="the one that REDIS_URL names")
    try:
        server = find_redis_server()
        told = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except RedisUnavailableError as error:
        return Finding(subject="Redis", verdict="fail", found="no server", remedy=str(error))
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(
            subject="Redis",
            verdict="fail",
            found=f"redis-server does not run ({error})",
            remedy="install redis-server (Debian: apt-get install redis-server)",
        )
    version = next((word for word in told.stdout.split() if word.startswith("v=")), "v=?").removeprefix("v=")
    return Finding(subject="Redis", verdict="ok", found=f"{version} at {server}")


def check_ports(given: Mapping[str, str], run_directory: Path) -> Finding:
    """Check that the stack's ports are free, or taken by the stack itself."""
    try:
        running = Addresses.read(run_directory)
        return Finding(
            subject="ports", verdict="ok", found=f"in use by the running stack (pid {running.pid})"
        )
    except LocalStackError:
        pass
    try:
        Ports.from_environment(given).require_free()
    except LocalStackError as error:
        sentence, _, remedy = error.sentence.partition("; ")
        return Finding(subject="ports", verdict="fail", found=sentence, remedy=remedy)
    return Finding(subject="ports", verdict="ok", found="free")


def check_speech() -> Finding:
    """Check that every speech model is installed and is the one that was pinned."""
    from emulators.speech.weights import ALL_MODELS, weight_problems

    problems = weight_problems()
    if problems:
        return Finding(
            subject="speech models",
            verdict="fail",
            found="; ".join(map(str, problems)),
            remedy="remove .venv and run make setup",
        )
    return Finding(subject="speech models", verdict="ok", found=", ".join(model.name for model in ALL_MODELS))


def check_browser(which: Callable[[str], str | None] = shutil.which) -> Finding:
    """Look for a Chromium; only the browser's tests need one."""
    found = next((path for name in _BROWSERS if (path := which(name))), None)
    if found:
        return Finding(subject="browser", verdict="ok", found=found)
    return Finding(
        subject="browser",
        verdict="warn",
        found="no Chromium on PATH; the browser's tests are skipped",
        remedy="install chromium (Debian: apt-get install chromium)",
    )


def check_cores(count: int | None = os.cpu_count()) -> Finding:
    """Check that hearing, speaking and media can share the machine."""
    if (count or 1) >= 2:
        return Finding(subject="processors", verdict="ok", found=str(count))
    return Finding(
        subject="processors",
        verdict="warn",
        found=str(count or "unknown"),
        remedy="with fewer than 2, speech may stutter",
    )


def check_settings(environment: Mapping[str, str], run_directory: Path) -> list[Finding]:
    """Check the settings of both planes as `make run` would give them."""
    from shared.settings import ControlPlaneSettings, SettingsError, WorkerSettings, load_settings

    try:
        stack = plan(environment, run_directory)
    except LocalStackError as error:
        return [Finding(subject="settings", verdict="fail", found="incomplete", remedy=error.sentence)]
    problems: list[str] = []
    with _process_environment(stack.parts[-1].environment):
        for cls in (ControlPlaneSettings, WorkerSettings):
            try:
                load_settings(cls, env_file=str(REPOSITORY / ".env"))
            except SettingsError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        return [
            Finding(subject="settings", verdict="fail", found=found.rstrip(". "), remedy=f"Example:{example}")
            for found, _, example in (problem.partition("Example:") for problem in problems)
        ]
    emulated = ("redis", "traces", "realtime", "communication")
    real = [part for part in emulated if part not in stack.needed_ports]
    found = (
        f"valid; real services instead of the emulators: {', '.join(real)}" if real else "valid; all local"
    )
    return [Finding(subject="settings", verdict="ok", found=found)]


@contextmanager
def _process_environment(environment: Mapping[str, str]) -> Generator[None]:
    """Let this process have `environment` for a moment: settings are read from nowhere else."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def check_agents(directory: Path) -> Finding:
    """Check that the agents load."""
    from shared.agents.catalog import load_agents
    from shared.errors import SidetoneError

    try:
        names = load_agents(directory).names
    except SidetoneError as error:
        return Finding(
            subject="agents",
            verdict="fail",
            found=error.detail,
            remedy="mend the files; `make check` tells all errors",
        )
    return Finding(subject="agents", verdict="ok", found=", ".join(names))


def examine(environment: Mapping[str, str], run_directory: Path) -> list[Finding]:
    """Return the findings of all checks."""
    given = given_settings(environment)
    return [
        check_python(),
        check_packages(),
        check_cores(),
        check_redis(given),
        check_ports(given, run_directory),
        check_speech(),
        check_browser(),
        *check_settings(environment, run_directory),
        check_agents(REPOSITORY / given.get("AGENTS_DIR", "agents")),
    ]


def show(findings: list[Finding], output: TextIO | None = None) -> None:
    """Print the findings, one line each, and the remedies below theirs."""
    console = Console(file=output, highlight=False)
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        head = Text(f"{finding.verdict:<5}", style=_STYLES[finding.verdict])
        console.print(head + Text(f"{finding.subject:<{width}}  {finding.found}"), soft_wrap=True)
        if finding.remedy:
            console.print(Text(f"     {'':<{width}}  {finding.remedy}", style="bold"), soft_wrap=True)


def main(argv: list[str]) -> int:
    """Run `python -m emulators doctor`; returns 1 when a check failed."""
    argparse.ArgumentParser(
        prog="python -m emulators doctor", description="Check that this machine can run the local stack."
    ).parse_args(argv)
    try:
        findings = examine(os.environ, run_directory())
    except KeyboardInterrupt:
        return 130
    show(findings)
    return int(any(finding.verdict == "fail" for finding in findings))
