"""What a team with strict rules looks for in the templates."""

from __future__ import annotations

import json
import re

import pytest

from realtime_worker import hand_over
from realtime_worker.media import carrier_socket
from shared.settings import WorkerSettings
from tests.unit.infra.bicep_text import (
    MAIN,
    REPOSITORY,
    TEMPLATES,
    Resource,
    block,
    parameters,
    resources,
    template_files,
    variable,
    without_comments,
)

# Microsoft's built-in roles, from their own list.
ROLES = {
    "acrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "cognitiveServicesOpenAIUser": "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd",
    "communicationAndEmailServiceOwner": "09976791-48a7-449e-bb21-39d1a415f350",
    "durableTaskDataContributor": "0ad04412-c4d5-4796-b79c-f76d14c8d402",
    "keyVaultSecretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "storageBlobDataContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
}
# What each type has to say so that no key and no stranger opens it.
LOCKED = {
    "Microsoft.Storage/storageAccounts": [
        "allowSharedKeyAccess: false",
        "allowBlobPublicAccess: false",
        "minimumTlsVersion: 'TLS1_2'",
        "supportsHttpsTrafficOnly: true",
    ],
    "Microsoft.Cache/redisEnterprise": ["minimumTlsVersion: '1.2'"],
    "Microsoft.Cache/redisEnterprise/databases": [
        "accessKeysAuthentication: 'Disabled'",
        "clientProtocol: 'Encrypted'",
        "evictionPolicy: 'NoEviction'",
    ],
    "Microsoft.CognitiveServices/accounts": ["disableLocalAuth: true", "customSubDomainName: name"],
    "Microsoft.CognitiveServices/accounts/deployments": ["versionUpgradeOption: 'NoAutoUpgrade'"],
    "Microsoft.Communication/communicationServices": ["disableLocalAuth: true"],
    "Microsoft.ContainerRegistry/registries": ["adminUserEnabled: false", "anonymousPullEnabled: false"],
    "Microsoft.Insights/components": ["DisableLocalAuth: true"],
    "Microsoft.KeyVault/vaults": ["enableRbacAuthorization: true", "enableSoftDelete: true"],
    "Microsoft.OperationalInsights/workspaces": ["disableLocalAuth: true"],
    "Microsoft.Web/sites": ["httpsOnly: true", "minTlsVersion: '1.2'", "type: 'UserAssigned'"],
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": ["allow: false"],
    "Microsoft.App/containerApps": ["allowInsecure: false", "type: 'UserAssigned'"],
}
# Types that Azure lets nobody tag.
UNTAGGED = re.compile(
    r"/(subnets|containers|blobServices|databases|accessPolicyAssignments|deployments|secrets|taskHubs"
    r"|retentionPolicies|managementPolicies|config|basicPublishingCredentialsPolicies|eventSubscriptions|privateDnsZoneGroups"
    r"|roleAssignments|diagnosticSettings)$"
)
MADE = [one for one in resources() if not one.existing]
WORKER = without_comments((TEMPLATES / "modules" / "worker.bicep").read_text())


def of_type(kind: str) -> list[Resource]:
    return [one for one in MADE if one.type == kind]


def test_roles_are_what_their_names_say() -> None:
    told = dict(
        re.findall(r"(\w+): '([0-9a-f-]{36})'", (TEMPLATES / "modules" / "role-ids.bicep").read_text())
    )
    assert told == ROLES


def test_every_role_is_used_and_no_other_is_assigned() -> None:
    text = "\n".join(path.read_text() for path in template_files() if path.name != "role-ids.bicep")
    assert set(re.findall(r"roleIds\.(\w+)", text)) == set(ROLES)
    assert not re.findall(r"'[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}'", text), (
        "roles are named, not numbered"
    )


@pytest.mark.parametrize("assignment", of_type("Microsoft.Authorization/roleAssignments"), ids=str)
def test_a_role_is_given_on_one_resource_to_a_known_kind_of_principal(assignment: Resource) -> None:
    assert "scope: " in assignment.text, "on the whole group it would be more than is needed"
    assert "principalType: " in assignment.text
    assert "name: guid(" in assignment.text, "so that another deployment finds it"


@pytest.mark.parametrize("kind", LOCKED)
def test_nothing_is_opened_by_a_key_or_a_stranger(kind: str) -> None:
    found = of_type(kind)
    assert found, f"no template makes {kind} any more"
    for one in found:
        missing = [line for line in LOCKED[kind] if line not in one.text]
        assert not missing, f"{one} does not say {missing}"


def test_no_template_asks_for_a_key_or_hands_out_a_secret() -> None:
    for path in template_files():
        text = without_comments(path.read_text())
        assert not re.search(r"\blist[A-Z]\w*\(|\.list\w+\(", text), f"{path.name} asks for keys"
        for name, value in re.findall(r"^output (\w+) \w+ = (.+)$", text, re.MULTILINE):
            assert not re.search(
                r"secret|password|key(?!Vault|_vault|Url)", f"{name} {value}", re.IGNORECASE
            ) or (name in {"AZURE_KEY_VAULT_NAME", "scaleKeyUrl"}), f"{path.name}: output {name}"
        for name, default in parameters(path).items():
            if re.search(rf"@secure\(\)\s*param {name} ", text):
                assert default in ("", "newGuid()"), f"{path.name}: {name} has a value of its own"


@pytest.mark.parametrize("one", [one for one in MADE if not UNTAGGED.search(one.type)], ids=str)
def test_what_can_be_tagged_is(one: Resource) -> None:
    assert re.search(r"^\s*tags: ", one.text, re.MULTILINE), f"{one} has no tags"


def test_tags_and_names_follow_one_rule() -> None:
    text = without_comments(MAIN.read_text())
    assert "var tags = union(extraTags, { 'azd-env-name': environmentName })" in text
    names = re.findall(r"^  (\w+): '(.+)'$", variable("names"), re.MULTILINE)
    for name, value in names:
        if name != "alerts":
            assert re.fullmatch(r"[a-z-]{2,13}\$\{token\}", value), f"{name} is named otherwise: {value}"
    lengths = {name: len(value.replace("${token}", "x" * 13)) for name, value in names}
    assert max(lengths["storage"], lengths["vault"]) <= 24
    assert lengths["worker"] <= 32


def test_regions_are_parameters() -> None:
    for one in MADE:
        place = re.search(r"^    ?location: (.+)$|^  location: (.+)$", one.text, re.MULTILINE)
        if place:
            assert (place[1] or place[2]) in ("location", "'global'"), one


def test_another_deployment_leaves_secrets_as_they_are() -> None:
    text = (TEMPLATES / "modules" / "key-vault.bicep").read_text()
    assert (
        text.count("@onlyIfNotExists()\nresource") == len(of_type("Microsoft.KeyVault/vaults/secrets")) == 2
    )


def test_every_parameter_has_a_variable_and_the_same_default() -> None:
    given = json.loads((TEMPLATES / "main.parameters.json").read_text())["parameters"]
    declared = parameters(MAIN)
    assert set(given) == set(declared) - {"extraTags"}
    for name, default in declared.items():
        if name in ("extraTags", "environmentName", "location", "principalId"):
            continue
        found = re.fullmatch(r"\$\{([A-Z_]+)=(.*)\}", given[name]["value"])
        assert found, f"{name} is no ${{VARIABLE=default}}"
        assert found[2] == default.strip("'"), f"{found[1]}: main.parameters.json has another default"


def test_private_networking_closes_what_can_be_closed() -> None:
    text = without_comments(MAIN.read_text())
    closed = re.findall(r"publicAccess: !(\w+)", text)
    assert closed.count("privateNetworking") == 4, "storage, Redis, the vault, orchestrations"
    assert closed.count("modelsArePrivate") == 1
    zones = set(re.findall(r"zone: zones\.(\w+)", text))
    assert zones == set(re.findall(r"^  (\w+): 'privatelink", variable("zones"), re.MULTILINE))


# --- the worker ---------------------------------------------------------------------------------


def test_a_stopping_worker_is_given_the_time_it_takes() -> None:
    closing = int(re.search(r"var closingSeconds = (\d+)", WORKER)[1])  # type: ignore[index]  # else it fails
    assert "terminationGracePeriodSeconds: drainSeconds + closingSeconds" in WORKER
    assert "DRAIN_S: string(drainSeconds)" in WORKER
    assert closing >= hand_over.CONFIRM_S + 5, "waiting for the next owners, and closing what it holds"
    longest = int(re.search(r"@maxValue\((\d+)\)\s*param drainSeconds", WORKER)[1])  # type: ignore[index]
    assert longest + closing <= 600, "Container Apps waits no longer"


def test_the_scaler_counts_with_what_a_worker_admits() -> None:
    rule = block(WORKER, WORKER.index("rules: ["))
    assert "targetValue: string(maxSessions)" in rule
    assert "MAX_SESSIONS: string(maxSessions)" in WORKER
    health = (REPOSITORY / "realtime_worker" / "health.py").read_text()
    path = re.search(r"defaultDomain\}(/\w+)'", rule)
    assert path, "the rule asks the app itself"
    assert f'web.get("{path[1]}"' in health
    for key in ("valueLocation", "keyParamName"):
        told = re.search(rf"{key}: '([\w-]+)'", rule)
        assert told, key
        assert f'"{told[1]}"' in health, f"{key} {told[1]} is not what the worker knows"
    assert "secretRef: 'scale-key', triggerParameter: 'apiKey'" in rule


def test_one_worker_always_runs() -> None:
    assert "minReplicas: highAvailability ? 2 : 1" in without_comments(MAIN.read_text())


def test_probes_ask_what_the_worker_answers() -> None:
    probes = block(WORKER, WORKER.index("probes: ["))
    health = (REPOSITORY / "realtime_worker" / "health.py").read_text()
    asked = dict(re.findall(r"type: '(\w+)'\s+httpGet: \{ path: '([^']+)', port: port \}", probes))
    assert asked == {"Startup": "/health", "Liveness": "/health", "Readiness": "/ready"}
    for path in asked.values():
        assert f'web.get("{path}"' in health
    for limit, most in (("failureThreshold", 10), ("initialDelaySeconds", 60), ("periodSeconds", 240)):
        assert all(int(value) <= most for value in re.findall(rf"{limit}: (\d+)", probes)), limit


def test_sockets_are_pinged_before_ingress_takes_them_for_idle() -> None:
    idle_s = 240  # of the environment's ingress
    assert idle_s / 2 > carrier_socket.LOOK_EVERY_S * carrier_socket.QUIET_LOOKS
    assert WorkerSettings.model_fields["provider_ping_s"].default < idle_s / 2


# --- the Functions app --------------------------------------------------------------------------


def test_orchestrations_find_their_hub() -> None:
    durable = json.loads((REPOSITORY / "host.json").read_text())["extensions"]["durableTask"]
    assert f"var hubName = '{durable['hubName']}'" in MAIN.read_text()
    assert durable["storageProvider"] == {
        "type": "azureManaged",
        "connectionStringName": "DURABLE_TASK_SCHEDULER_CONNECTION_STRING",
    }
    assert "DURABLE_TASK_SCHEDULER_CONNECTION_STRING" in variable("functionsHostSettings")
    assert "ipAllowlist: ['0.0.0.0/0']" in (TEMPLATES / "modules" / "durable-tasks.bicep").read_text()


def test_a_ringing_call_meets_a_warm_function() -> None:
    text = without_comments(MAIN.read_text())
    warm = block(text, text.index("alwaysReady: concat("))
    assert {"http", "durable", "function:incoming_call"} == set(re.findall(r"name: '([\w:]+)'", warm))
    assert "/functions/incoming_call'" in (TEMPLATES / "incoming-call.bicep").read_text()
    assert (
        'function_name(name="incoming_call")' in (REPOSITORY / "functions" / "incoming_call.py").read_text()
    )


def test_flex_consumption_is_told_nothing_that_it_refuses() -> None:
    text = without_comments((TEMPLATES / "modules" / "functions.bicep").read_text())
    for refused in (
        "linuxFxVersion",
        "ftpsState",
        "WEBSITE_CONTENT",
        "alwaysOn: true",
        "FUNCTIONS_WORKER_RUNTIME",
    ):
        assert refused not in text
    assert "sku: { name: 'FC1', tier: 'FlexConsumption' }" in text
