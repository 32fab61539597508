"""azure.yaml, the workflows, and how they fit the templates."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.infra.bicep_text import MAIN, REPOSITORY, TEMPLATES, without_comments

AZURE: dict[str, Any] = yaml.safe_load((REPOSITORY / "azure.yaml").read_text())
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
VARIABLES = set(
    re.findall(
        r"\$\{([A-Z_]+)",
        "".join(
            one["value"]
            for one in json.loads((TEMPLATES / "main.parameters.json").read_text())["parameters"].values()
        ),
    )
)


def workflow(name: str) -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / ".github" / "workflows" / name).read_text())


def test_the_services_lie_where_they_are_said_to() -> None:
    assert AZURE["name"] == "sidetone"
    functions, worker = AZURE["services"]["functions"], AZURE["services"]["worker"]
    assert (functions["project"], functions["language"], functions["host"]) == (".", "python", "function")
    for name in ("function_app.py", "host.json", "requirements.txt", ".funcignore"):
        assert (REPOSITORY / name).is_file()
    assert (worker["project"], worker["host"]) == (".", "containerapp")
    assert (REPOSITORY / worker["docker"]["path"]).is_file()
    assert worker["docker"]["remoteBuild"] is True, "nobody needs Docker to deploy"
    assert set(AZURE["services"]) == {"functions", "worker"}


@pytest.mark.parametrize("service", AZURE["services"])
def test_azd_finds_each_service_by_its_tag(service: str) -> None:
    tagged = [
        path for path in TEMPLATES.rglob("*.bicep") if f"'azd-service-name': '{service}'" in path.read_text()
    ]
    assert len(tagged) == 1


def test_azd_finds_the_templates_and_what_it_needs_of_them() -> None:
    assert AZURE["infra"] == {"provider": "bicep", "path": "infra/bicep", "module": "main"}
    text = without_comments(MAIN.read_text())
    assert text.startswith("\n\ntargetScope = 'subscription'")
    outputs = re.findall(r"^output (\w+) ", text, re.MULTILINE)
    assert "AZURE_CONTAINER_REGISTRY_ENDPOINT" in outputs, "azd pushes the image there"
    assert all(name == name.upper() for name in outputs), "they become variables"
    used = {
        name
        for path in (REPOSITORY / "infra" / "hooks").iterdir()
        for name in re.findall(
            r"\$(?:env:|\{)?((?:FUNCTIONS|STORAGE|INCOMING|AZURE_KEY|AZURE_OPENAI|AZURE_RES)\w+)",
            path.read_text(),
        )
    }
    assert used <= set(outputs)


def test_hooks_exist_for_both_shells_and_run() -> None:
    assert set(AZURE["hooks"]) == {"preprovision", "postdeploy"}
    for hook in AZURE["hooks"].values():
        for system, shell, suffix in (("posix", "sh", ".sh"), ("windows", "pwsh", ".ps1")):
            path = REPOSITORY / hook[system]["run"]
            assert (hook[system]["shell"], path.suffix) == (shell, suffix)
            assert path.is_file()
        assert os.access(REPOSITORY / hook["posix"]["run"], os.X_OK)


def test_the_pipeline_knows_parameters_only_and_the_workflow_hands_them_on() -> None:
    told = set(AZURE["pipeline"]["variables"])
    assert told <= VARIABLES, told - VARIABLES
    handed_on = workflow("azure-dev.yml")["env"]
    assert told <= set(handed_on), told - set(handed_on)
    for name, value in handed_on.items():
        assert value == f"${{{{ vars.{name} }}}}" or name == "AZURE_PRINCIPAL_TYPE"
    assert handed_on["AZURE_PRINCIPAL_TYPE"] == "ServicePrincipal"


@pytest.mark.parametrize("page", ["deploy.md", "operations.md"])
def test_the_pages_name_variables_that_there_are(page: str) -> None:
    text = (REPOSITORY / "docs" / page).read_text()
    hooks = "".join(path.read_text() for path in (REPOSITORY / "infra" / "hooks").iterdir())
    named = set(re.findall(r"azd env set ([A-Z_]+)", text))
    named |= {
        name
        for row in re.findall(r"^\| (`[A-Z_`, …]+) \|", text, re.MULTILINE)
        for name in re.findall(r"`([A-Z_]+)`", row)
    }
    assert named, "the pages tell what can be set"
    unknown = {name for name in named if name not in VARIABLES and name not in hooks}
    assert not unknown


# --- workflows ----------------------------------------------------------------------------------


def test_workflows_are_well_formed() -> None:
    ran = subprocess.run(
        [
            Path(sys.executable).with_name("check-jsonschema"),
            "--builtin-schema",
            "vendor.github-workflows",
            *WORKFLOWS,
        ],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_workflows_have_no_known_weakness() -> None:
    ran = subprocess.run(
        [Path(sys.executable).with_name("zizmor"), "--offline", "--no-progress", REPOSITORY / ".github"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_and_nothing_may_write_by_default(path: Path) -> None:
    text = path.read_text()
    for line in re.findall(r"uses: (.+)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", line), f"{path.name}: {line}"
    content = yaml.safe_load(text)
    assert content["permissions"] == {"contents": "read"}
    for name, job in content["jobs"].items():
        assert job["timeout-minutes"] <= 90, name


def test_what_the_checks_run() -> None:
    jobs = workflow("checks.yml")["jobs"]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert jobs["tests"]["env"] == {"PYTHON": "python${{ matrix.python }}"}
    ran = {step.get("run", "") for job in jobs.values() for step in job["steps"]}
    assert {"make check", "make test", "make package-test", "make image-test"} <= ran
    (templates,) = [run for run in ran if "az bicep build" in run]
    assert "az bicep lint" in templates
    roots = {path.relative_to(REPOSITORY).as_posix() for path in TEMPLATES.glob("*.bicep")}
    assert roots == set(re.findall(r"infra/bicep/[\w-]+\.bicep", templates))


def test_deployments_wait_for_approval_and_use_no_stored_secret() -> None:
    text = (REPOSITORY / ".github" / "workflows" / "azure-dev.yml").read_text()
    assert "secrets." not in text
    jobs = workflow("azure-dev.yml")["jobs"]
    assert jobs["deploy"]["environment"] == "production"
    assert jobs["deploy"]["permissions"] == {"contents": "read", "id-token": "write"}
    assert jobs["deploy"]["concurrency"]["cancel-in-progress"] is False
    assert "azd provision --preview --no-prompt" in [step.get("run") for step in jobs["preview"]["steps"]]
    assert "head.repo.full_name == github.repository" in jobs["preview"]["if"]
