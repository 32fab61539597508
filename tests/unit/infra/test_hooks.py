"""The hooks of azd, run with an Azure CLI that is played: what they say, and that twice is as once."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.unit.infra.bicep_text import MAIN, REPOSITORY, TEMPLATES, parameters

HOOKS = REPOSITORY / "infra" / "hooks"
SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
PROVIDERS = [
    "Microsoft.App", "Microsoft.Authorization", "Microsoft.Cache", "Microsoft.CognitiveServices",
    "Microsoft.ContainerRegistry", "Microsoft.DurableTask", "Microsoft.Insights", "microsoft.keyvault",
    "Microsoft.ManagedIdentity", "Microsoft.OperationalInsights", "Microsoft.Storage", "Microsoft.Web",
]  # fmt: skip
# Answers for the beginning of a command; what is not here succeeds and says nothing. The longest wins.
WELL = {
    "account show": SUBSCRIPTION,
    "provider list": "\n".join(PROVIDERS),
    "role assignment list": "Contributor\nRole Based Access Control Administrator",
    "functionapp list-flexconsumption-locations": "swedencentral",
    "account list-locations": "Sweden Central",
    "provider show": "East US 2\nSweden Central",
    "cognitiveservices model list": "a model",
    "cognitiveservices usage list": "100.0\t20.0",
}
# Writes down what it was told, and what lies in the file that it was given; then answers.
PLAYED_AZ = """#!/bin/sh
told="$*"
file=
while [ $# -gt 0 ]; do
    [ "$1" = --file ] && file=$2
    shift
done
printf '%s\\t%s\\n' "$told" "$([ -z "$file" ] || cat "$file"; echo .)" >>"$TOLD"
case "$told" in
{cases}
esac
"""


@dataclass
class Stage:
    """Where a hook runs: `answers` of the CLI may be changed; `told` are the commands it was given."""

    directory: Path
    answers: dict[str, str | None] = field(default_factory=lambda: dict(WELL))
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, hook: str, **environment: str) -> subprocess.CompletedProcess[str]:
        bin_directory = self.directory / "bin"
        bin_directory.mkdir(exist_ok=True)
        az = bin_directory / "az"
        cases = [
            f"{shlex.quote(start)}*) "
            + (
                "echo 'the played Azure CLI fails' >&2; exit 1"
                if answer is None
                else f"echo {shlex.quote(answer)}"
            )
            + " ;;"
            for start, answer in sorted(self.answers.items(), key=lambda pair: -len(pair[0]))
        ]
        az.write_text(PLAYED_AZ.format(cases="\n".join(cases)))
        az.chmod(0o755)
        self._told.unlink(missing_ok=True)
        return subprocess.run(
            ["sh", str(HOOKS / hook)],
            env={
                "PATH": f"{bin_directory}:{os.environ['PATH']}",
                "TOLD": str(self._told),
                **self.environment,
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def _told(self) -> Path:
        return self.directory / "told"

    @property
    def told(self) -> list[tuple[str, str]]:
        """The commands, each with what was in its file."""
        lines = self._told.read_text().splitlines() if self._told.exists() else []
        return [
            (command, content.removesuffix("."))
            for command, _, content in (one.partition("\t") for one in lines)
        ]


@pytest.fixture
def preflight(tmp_path: Path) -> Stage:
    return Stage(
        tmp_path,
        environment={
            "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
            "AZURE_LOCATION": "swedencentral",
            "AZURE_PRINCIPAL_ID": "22222222-2222-2222-2222-222222222222",
            "AZURE_ENV_NAME": "test",
        },
    )


def test_nothing_is_missing(preflight: Stage) -> None:
    ran = preflight.run("preflight.sh")
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "preflight: nothing is missing", "")
    changing = [
        command for command, _ in preflight.told if not re.search(r" (list|show|list-\S+) ", f" {command} ")
    ]
    assert not changing, "it only looks"


@pytest.mark.parametrize(
    ("answers", "environment", "told"),
    [
        ({"account show": None}, {}, "is not signed in: az login."),
        ({"account show": "other"}, {}, f"az account set --subscription {SUBSCRIPTION}."),
        (
            {"provider list": "\n".join(one for one in PROVIDERS if one != "Microsoft.Cache")},
            {},
            "Microsoft.Cache is not registered: az provider register --namespace Microsoft.Cache --wait.",
        ),
        ({}, {"ENABLE_ACS": "true"}, "Microsoft.Communication is not registered"),
        ({"role assignment list": "Contributor"}, {}, "may not assign roles"),
        ({"role assignment list": "User Access Administrator"}, {}, "may not create resources"),
        (
            {"functionapp list-flexconsumption-locations": ""},
            {},
            "Flex Consumption is not offered in swedencentral",
        ),
        ({"provider show": "East US 2"}, {}, "Durable Task Scheduler is not offered in swedencentral"),
        (
            {"cognitiveservices model list": ""},
            {},
            "The model gpt-realtime-2.1 (2026-07-07, GlobalStandard) is not offered in swedencentral",
        ),
        ({"cognitiveservices usage list": "100.0\t95.0"}, {}, "The quota for gpt-realtime-2.1"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(
    preflight: Stage, answers: dict[str, str | None], environment: dict[str, str], told: str
) -> None:
    preflight.answers |= answers
    ran = preflight.run("preflight.sh", **environment)
    assert ran.returncode == 1
    (line,) = [line for line in ran.stderr.splitlines() if told in line]
    assert line.startswith("preflight: ")
    assert line.endswith(".")


def test_an_environment_that_exists_may_use_up_its_own_quota(preflight: Stage) -> None:
    preflight.answers |= {
        "cognitiveservices usage list": "10.0\t10.0",
        "cognitiveservices account list": "ai-x",
    }
    assert preflight.run("preflight.sh").returncode == 0


def test_who_may_not_read_roles_is_not_told_that_they_are_missing(preflight: Stage) -> None:
    preflight.answers["role assignment list"] = None
    assert preflight.run("preflight.sh").returncode == 0


def test_another_backend_needs_no_scheduler(preflight: Stage) -> None:
    preflight.answers["provider show"] = ""
    assert preflight.run("preflight.sh", DURABLE_BACKEND="storage").returncode == 0


def test_the_look_can_be_left_out(preflight: Stage) -> None:
    preflight.answers["account show"] = None
    assert preflight.run("preflight.sh", SKIP_PREFLIGHT="true").returncode == 0


@pytest.mark.parametrize("hook", ["preflight.sh", "preflight.ps1"])
def test_the_look_expects_the_models_that_the_templates_deploy(hook: str) -> None:
    text = (HOOKS / hook).read_text()
    defaults = parameters(MAIN)
    for variable, default in re.findall(
        r"\$\{(\w+_MODEL_(?:NAME|VERSION|CAPACITY)):-([^}]*)\}", text
    ) or re.findall(r"Setting '(\w+_MODEL_(?:NAME|VERSION|CAPACITY))' '([^']*)'", text):
        name = re.sub(r"_(\w)", lambda found: found[1].upper(), variable.lower())
        assert defaults[name].strip("'") == default, variable


# --- after a deployment -------------------------------------------------------------------------


class Ready(BaseHTTPRequestHandler):
    """The app's readiness."""

    answer = (200, b'{"status":"ready"}')

    def do_GET(self) -> None:
        assert self.path == "/api/v1/ready"
        status, body = self.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]  # a generator
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(Ready, "answer", Ready.answer)
    yield Stage(
        tmp_path,
        answers={"rest --resource https://cognitiveservices.azure.com --method post": "whsec_new"},
        environment={
            "AZURE_RESOURCE_GROUP": "rg-test",
            "FUNCTIONS_NAME": "func-x",
            "FUNCTIONS_URL": f"http://127.0.0.1:{server.server_port}",
            "AZURE_KEY_VAULT_NAME": "kv-x",
            "AZURE_OPENAI_ENDPOINT": "https://ai-x.openai.azure.com",
            "STORAGE_ACCOUNT_NAME": "stx",
            "READY_ATTEMPTS": "2",
            "READY_PAUSE_S": "0",
        },
    )
    server.shutdown()
    server.server_close()


def test_the_webhooks_secret_goes_into_the_vault_and_nowhere_else(deployed: Stage) -> None:
    ran = deployed.run("after_deploy.sh")
    assert ran.returncode == 0, ran.stderr
    assert "whsec_new" not in ran.stdout + ran.stderr + "".join(command for command, _ in deployed.told)
    ((command, stored),) = [told for told in deployed.told if told[0].startswith("keyvault secret set")]
    assert "--vault-name kv-x --name realtime-webhook-secrets" in command
    assert stored == "whsec_new", "the signing secret alone, without a line's end"
    assert any(command.startswith("functionapp restart") for command, _ in deployed.told)
    (registration,) = [command for command, _ in deployed.told if "--method post" in command]
    assert "https://ai-x.openai.azure.com/openai/v1/dashboard/webhook_endpoints" in registration
    assert f'"url": "{deployed.environment["FUNCTIONS_URL"]}/api/v1/webhooks/realtime"' in registration
    assert '"event_types": ["realtime.call.incoming"]' in registration


def test_a_second_run_changes_nothing(deployed: Stage) -> None:
    deployed.answers["keyvault secret list"] = "realtime-webhook-secrets"
    ran = deployed.run("after_deploy.sh")
    assert ran.returncode == 0, ran.stderr
    assert [command.split(" --")[0] for command, _ in deployed.told] == ["keyvault secret list"]


def test_an_endpoint_whose_secret_is_lost_is_made_anew(deployed: Stage) -> None:
    deployed.answers["rest --resource https://cognitiveservices.azure.com --method get"] = "we_1\nwe_2"
    assert deployed.run("after_deploy.sh").returncode == 0
    deleted = [command for command, _ in deployed.told if "--method delete" in command]
    assert [command.split()[-3].rpartition("/")[2] for command in deleted] == ["we_1", "we_2"]


def test_incoming_calls_are_subscribed_to_by_the_template(deployed: Stage) -> None:
    ran = deployed.run("after_deploy.sh", INCOMING_CALLS_TOPIC="evgt-x", REALTIME_WEBHOOK="false")
    assert ran.returncode == 0, ran.stderr
    ((command, _),) = deployed.told
    assert command.startswith("deployment group create --resource-group rg-test --name incoming-call")
    given = dict(re.findall(r"(\w+)=(\S+)", command))
    assert set(given) == set(parameters(TEMPLATES / "incoming-call.bicep")) - {"deadLetterContainerName"}
    assert given == {"topicName": "evgt-x", "functionAppName": "func-x", "storageAccountName": "stx"}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            {"rest --resource https://cognitiveservices.azure.com --method post": None},
            "calls by SIP are not answered",
        ),
        ({"keyvault secret list": None}, "deploy from inside of its network"),
        ({"functionapp restart": None}, "could not be restarted"),
    ],
)
def test_a_step_that_fails_is_said_and_fails_the_hook(
    deployed: Stage, answers: dict[str, str | None], told: str
) -> None:
    deployed.answers |= answers
    ran = deployed.run("after_deploy.sh")
    assert ran.returncode == 1
    assert told in ran.stderr
    assert "ready: http" in ran.stdout, "the other steps were done"


def test_an_app_that_is_not_ready_says_why(deployed: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"status":"not_ready","checks":{"provider":{"code":"provider_unauthorized"}}}'
    monkeypatch.setattr(Ready, "answer", (503, body))
    ran = deployed.run("after_deploy.sh")
    assert ran.returncode == 1
    assert "provider_unauthorized" in ran.stderr


# --- both shells --------------------------------------------------------------------------------


def sentences(text: str) -> set[str]:
    """Return the words of what is said, without what the shells write differently."""
    said = re.findall(r"(?:[Ss]ay|[Tt]ell|[Cc]omplain) [\"']([^\n]+)[\"']", text)
    return {re.sub(r"\$\{?(?:env:)?\w+\}?", "*", one).replace("`", "") for one in said}


@pytest.mark.parametrize("hook", ["preflight", "after_deploy"])
def test_both_shells_say_and_ask_the_same(hook: str) -> None:
    posix, windows = (HOOKS / f"{hook}.sh").read_text(), (HOOKS / f"{hook}.ps1").read_text()
    assert len(sentences(posix)) >= 5
    assert sentences(posix) == sentences(windows)
    asked = [
        set(re.findall(r"\baz ((?:[a-z-]+ )+)", re.sub(r"#.*|[Ss]ay.*", "", text)))
        for text in (posix, windows)
    ]
    assert asked[0] - {"rest "} == asked[1] - {"rest "}
