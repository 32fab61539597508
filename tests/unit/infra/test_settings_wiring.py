"""The settings of both planes, and what the templates set: each plane starts with what it is given.

When this fails after a setting was added: a setting without a default belongs into `controlPlaneSettings`,
`workerSettings` or (for both) `commonSettings` of infra/bicep/main.bicep; a secret belongs into the vault
(infra/bicep/modules/key-vault.bicep), under its name in lower case with dashes. What has a default that fits
needs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from shared import setting_sources
from shared.settings import CommonSettings, ControlPlaneSettings, WorkerSettings, load_settings
from tests.unit.infra.bicep_text import MAIN, REPOSITORY, TEMPLATES, keys, values, variable, without_comments

PLANES: dict[str, type[CommonSettings]] = {
    "controlPlaneSettings": ControlPlaneSettings,
    "workerSettings": WorkerSettings,
}
WORKER = (TEMPLATES / "modules" / "worker.bicep").read_text()
VAULT = (TEMPLATES / "modules" / "key-vault.bicep").read_text()
HOOK = (REPOSITORY / "infra" / "hooks" / "after_deploy.sh").read_text()
# Secrets as the vault and the realtime service make them.
SECRETS = {
    "signing-keys": "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "scale-key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    "realtime-webhook-secrets": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
}
# Of the platform and the SDKs, not of the product.
PLATFORM = {
    "AZURE_CLIENT_ID",
    "DURABLE_TASK_SCHEDULER_CONNECTION_STRING",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AzureFunctionsJobHost__extensions__durableTask__storageProvider__type",
    "AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionName",
    "AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionStringName",
}


def given(plane: str, *, acs: bool) -> set[str]:
    """Return the settings that `plane` gets, with or without Communication Services."""
    text = variable("commonSettings") + "\n" + variable(plane)
    if plane == "workerSettings":
        text += added_by_the_workers_module()
    if not acs:
        text = re.sub(r"(?:enableAcs|keepsRecordings)\s*\?\s*\{[^}]*(?:\$\{[^}]*\}[^}]*)*\}", "", text)
    return keys(text)


def added_by_the_workers_module() -> str:
    found = re.search(r"union\(settings, (\{.*?\})\)", WORKER, re.DOTALL)
    assert found, "worker.bicep adds its own settings with union(settings, {…})"
    return "\n" + found[1]


def vault_secrets() -> set[str]:
    made = set(
        re.findall(r"resource \w+ 'Microsoft.KeyVault/vaults/secrets@.*?name: '([\w-]+)'", VAULT, re.DOTALL)
    )
    return made | set(re.findall(r"^secret_name=([\w-]+)$", HOOK, re.MULTILINE))


@pytest.mark.parametrize("acs", [False, True], ids=["", "acs"])
@pytest.mark.parametrize("plane", PLANES)
def test_a_plane_starts_with_what_the_templates_give_it(
    plane: str, acs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PLANES[plane]

    def from_the_vault(_: object, url: str, names: Iterable[str]) -> dict[str, object]:
        return {
            name: SECRETS[dashed] for name in names if (dashed := name.replace("_", "-")) in vault_secrets()
        }

    monkeypatch.setattr(setting_sources, "_read_vault", from_the_vault)
    for other in PLANES.values():
        for name in other.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
    for name in given(plane, acs=acs):
        field = settings.model_fields[name.lower()]
        example = str(field.examples[0] if field.examples else field.default)
        monkeypatch.setenv(name, example.replace("=UUID", "=00000000-0000-0000-0000-000000000000"))
    loaded = load_settings(settings, env_file=None)
    assert loaded.signing_keys.get_secret_value() == SECRETS["signing-keys"]
    assert bool(loaded.acs_resource_id) is acs


@pytest.mark.parametrize("plane", PLANES)
def test_every_setting_of_the_templates_is_one_of_the_plane(plane: str) -> None:
    known = {name.upper() for name in PLANES[plane].model_fields}
    unknown = given(plane, acs=True) - known
    assert not unknown, f"{plane} in main.bicep sets what shared/settings.py does not know: {sorted(unknown)}"


@pytest.mark.parametrize("plane", PLANES)
def test_no_secret_is_an_environment_variable(plane: str) -> None:
    fields = PLANES[plane].model_fields
    secret = {name.upper() for name, field in fields.items() if "SecretStr" in str(field.annotation)}
    # With local authentication off, the connection string is an address.
    assert given(plane, acs=True) & secret == {"APPLICATIONINSIGHTS_CONNECTION_STRING"}


def test_other_variables_are_the_platforms() -> None:
    told = keys(variable("functionsHostSettings")) | keys(variable("workerHostSettings"))
    assert told == PLATFORM
    refused = {"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION"}
    assert not told & refused, "Flex Consumption refuses these"


def test_every_secret_of_the_vault_is_a_setting() -> None:
    known = {name.replace("_", "-") for plane in PLANES.values() for name in plane.model_fields}
    assert vault_secrets() <= known
    assert vault_secrets() == set(SECRETS)


def test_identities_are_named_where_there_are_several() -> None:
    for plane in PLANES:
        told = values(variable(plane))["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"]
        assert re.fullmatch(r"'Authorization=AAD;ClientId=\$\{\w+Identity\.outputs\.clientId\}'", told), told
    assert "AZURE_CLIENT_ID" in keys(variable("functionsHostSettings"))
    assert "AZURE_CLIENT_ID" in keys(variable("workerHostSettings"))


def test_the_models_deployments_are_what_the_planes_ask_for() -> None:
    told = values(variable("commonSettings"))
    deployments = re.findall(r"name: (\w+)", variable("modelDeployments"))
    assert told["REALTIME_MODEL"] in deployments
    assert told["TRANSCRIPTION_MODEL"] in deployments


def test_the_same_is_said_to_both_planes_and_outside() -> None:
    text = without_comments(MAIN.read_text())
    assert values(variable("workerSettings"))["CONTROL_PLANE_URL"] == "functionsUrl"
    assert values(variable("controlPlaneSettings"))["MEDIA_STREAM_URL"] == "'wss://${workerDomain}'"
    assert "settings: union(agentVariables, controlPlaneSettings, functionsHostSettings)" in text
    assert "settings: union(agentVariables, workerSettings, workerHostSettings)" in text
