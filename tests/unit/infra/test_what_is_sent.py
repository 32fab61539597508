"""What leaves this machine when somebody deploys: what is needed, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.packages import REPOSITORY, image_files, package_files, size_of

PACKAGE = {"agents", "function_app.py", "functions", "host.json", "requirements.txt", "shared"}
IMAGE = {"agents", "realtime_worker", "requirements-worker.txt", "shared"}


@pytest.mark.parametrize(
    ("files", "top", "most_bytes"),
    [(package_files, PACKAGE, 4_000_000), (image_files, IMAGE, 4_000_000)],
    ids=["functions", "worker"],
)
def test_only_what_is_needed_is_sent(
    files: Callable[[], list[str]],
    top: set[str],
    most_bytes: int,
    record_property: Callable[[str, object], None],
) -> None:
    sent = files()
    unexpected = {name.partition("/")[0] for name in sent} - top
    assert not unexpected, (
        f"new at the top of the repository, and sent to Azure: {sorted(unexpected)}. "
        "Name it in .funcignore, or here if the app needs it."
    )
    assert top == {name.partition("/")[0] for name in sent}
    size = size_of(sent)
    record_property("figure", f"{len(sent)} files, {size / 1000:.0f} kB")
    assert size < most_bytes


@pytest.mark.parametrize("files", [package_files, image_files], ids=["functions", "worker"])
def test_nothing_private_or_made_is_sent(files: Callable[[], list[str]]) -> None:
    for name in files():
        parts = name.split("/")
        assert not any(part.startswith(".") or part == "__pycache__" for part in parts), name
        assert not name.endswith((".pyc", ".env", ".pem", ".key", ".sqlite", ".rules.yaml")), name


def test_everything_the_planes_import_is_sent() -> None:
    package, image = set(package_files()), set(image_files())
    for directory, sent in (("functions", package), ("shared", package), ("shared", image)):
        sources = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / directory).rglob("*.py")}
        assert sources <= sent
    agents = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "agents").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(".rules.yaml")
    }
    assert agents <= package
    assert agents <= image


def test_the_registry_finds_the_dockerfile_in_what_is_sent() -> None:
    assert "realtime_worker/Dockerfile" in image_files()


def test_what_lies_about_on_a_developers_machine_stays_there(tmp_path: Path) -> None:
    for name in (".funcignore", ".dockerignore"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    for name in (
        ".env", ".git/config", ".venv313/bin/python", ".azure/prod/.env", "local.settings.json",
        "repo_env/bin/python", "sidetone.egg-info/PKG-INFO", "functions/__pycache__/a.pyc",
        "requirements-worker.in", "tests/test.py", "functions/tokens.py", "shared/.env", "agents/.env",
        "realtime_worker/.cache/x", "shared/x.pyc", "node_modules/x.js",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert package_files(tmp_path) == ["functions/tokens.py"]
    assert image_files(tmp_path) == []


def test_what_tools_make_here_is_not_committed() -> None:
    left_behind = ["sidetone_env/bin/python", ".azure/prod/.env", "local.settings.json"]
    told = subprocess.run(
        ["git", "check-ignore", *left_behind], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if told.returncode == 128:
        pytest.skip("not a git checkout")
    assert told.stdout.split() == left_behind
