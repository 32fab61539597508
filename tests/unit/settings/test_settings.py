"""Settings: what is read from where, and what a person is told who got one wrong."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings import (
    CommonSettings,
    ControlPlaneSettings,
    SettingsError,
    WorkerSettings,
    load_settings,
)

KEY = base64.b64encode(bytes(range(32))).decode()  # fixed, since it is part of the names of tests
GOOD = {
    "REDIS_URL": "rediss://:hunter2@cache.westeurope.redis.azure.net:10000",
    "AZURE_OPENAI_ENDPOINT": "https://voice.openai.azure.com",
    "AZURE_OPENAI_API_KEY": "azure-key-hunter2",
    "SIGNING_KEYS": f"k1:{KEY}",
    "CONTROL_PLANE_URL": "http://127.0.0.1:7071",
}


@pytest.fixture(autouse=True)
def good_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in (*WorkerSettings.model_fields, *ControlPlaneSettings.model_fields):
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def problems(cls: type[CommonSettings]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(cls)
    assert caught.value.code == "invalid_settings"
    return list(caught.value.problems)


def test_defaults_are_those_of_the_documentation() -> None:
    worker = load_settings(WorkerSettings)
    assert (worker.provider, worker.realtime_model) == ("azure_openai", "gpt-realtime")
    assert worker.telemetry_sampling_ratio == 1.0
    assert worker.session_retention_s == 7 * 86400
    assert worker.worker_id != load_settings(WorkerSettings).worker_id
    control = load_settings(ControlPlaneSettings)
    assert (control.api_auth, control.client_secret_ttl_s, control.max_body_bytes) == (
        "function_key",
        60,
        65536,
    )


def test_all_problems_are_told_at_once_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "SIGNING_KEYS", "AZURE_OPENAI_ENDPOINT", "CONTROL_PLANE_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("WORKER_PORT", "eighty")
    told = problems(WorkerSettings)
    assert told[0] == ("REDIS_URL: is missing. Example: REDIS_URL=rediss://NAME.REGION.redis.azure.net:10000")
    assert [line.partition(":")[0] for line in told] == [
        "REDIS_URL",
        "AZURE_OPENAI_ENDPOINT",
        "SIGNING_KEYS",
        "CONTROL_PLANE_URL",
        "WORKER_PORT",
    ]
    assert all("\n" not in line and "Example: " in line for line in told)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("AZURE_OPENAI_ENDPOINT", "https://voice.openai.azure.com/openai/v1", "leave out /openai/v1"),
        (
            "AZURE_OPENAI_ENDPOINT",
            "https://swedencentral.api.cognitive.microsoft.com",
            "is the address of a region",
        ),
        ("REDIS_URL", "rediss://voice.westeurope.redis.azure.net:6380", "and end with :10000"),
        ("REDIS_URL", "redis://voice.westeurope.redis.azure.net:10000", "must start with rediss://"),
        ("AZURE_OPENAI_ENDPOINT", "https://voice.openai.azure.com/openai/", "leave out /openai"),
        ("AZURE_OPENAI_ENDPOINT", "https://voice.openai.azure.com?api-version=2025-04-01", "?api-version"),
        ("AZURE_OPENAI_ENDPOINT", "voice.openai.azure.com", "must start with https://"),
        ("AZURE_OPENAI_ENDPOINT", "http://voice.openai.azure.com", "must use https"),
        ("AZURE_OPENAI_ENDPOINT", "https://me:hunter2@voice.openai.azure.com", "user name"),
        ("AZURE_OPENAI_ENDPOINT", "https://[voice", "is not a URL"),
        ("REDIS_URL", "cache.redis.azure.net:10000", "must start with rediss://"),
        ("REDIS_URL", "rediss://cache:port", "is not a URL"),
        ("SIGNING_KEYS", "k1:dG9vIHNob3J0", "9 bytes; at least 32"),
        ("SIGNING_KEYS", KEY, "no key id"),
        ("SIGNING_KEYS", f"k1:{KEY},k1:{KEY}", "key id k1 twice"),
        ("SIGNING_KEYS", "k1:" + base64.b64encode(b"changeme" * 8).decode(), "repeats a few bytes"),
        ("SIGNING_KEYS", "k1:no%base64", "not base64"),
        ("CLIENT_SECRET_TTL_S", "5", "at least 10"),
        ("CLIENT_SECRET_TTL_S", "7201", "at most 7200"),
        ("TOKEN_RATE_PER_MINUTE", "many", "whole number"),
        ("ATTACH_WAIT_S", "0", "more than 0"),
        ("ATTACH_WAIT_S", "nan", "must be a number"),
        ("TELEMETRY_SAMPLING_RATIO", "1.5", "at most 1"),
        ("TELEMETRY_LIVE_METRICS", "perhaps", "true or false"),
        ("API_AUTH", "none", "'function_key' or 'easy_auth'"),
        ("PROVIDER", "voice", "'azure_openai' or 'openai'"),
        ("LOG_LEVEL", "loud", "DEBUG, INFO, WARNING or ERROR"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/v1/traces", "leave out /v1/traces"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "IngestionEndpoint=https://x/", "no InstrumentationKey"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "hunter2", "Key=Value"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=hunter2", "UUID"),
        ("KEY_VAULT_URL", "https://name.vault.azure.net/secrets/x", "leave out /secrets/x"),
    ],
)
def test_a_wrong_value_is_told_with_a_right_one(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    (line,) = problems(ControlPlaneSettings)
    assert line.startswith(f"{variable}: ")
    assert told in line
    assert f"Example: {variable}=" in line
    assert not line.endswith("=")
    assert "hunter2" not in line
    assert KEY not in line


def test_a_trailing_slash_and_odd_case_are_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://voice.openai.azure.com/")
    monkeypatch.setenv("log_level", "debug")
    settings = load_settings(CommonSettings)
    assert settings.azure_openai_endpoint == "https://voice.openai.azure.com"
    assert settings.log_level == "DEBUG"


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9000", "http://localhost:9000", "http://emulator:9000"]
)
def test_http_is_fine_where_no_network_is_crossed(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
    assert load_settings(CommonSettings).azure_openai_endpoint == endpoint


def test_a_connection_string_comes_out_as_the_exporter_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        " InstrumentationKey=00000000-0000-0000-0000-00000000ABCD ; IngestionEndpoint=https://x.com/; ",
    )
    connection_string = load_settings(CommonSettings).applicationinsights_connection_string
    assert connection_string is not None
    assert connection_string.get_secret_value() == (
        "InstrumentationKey=00000000-0000-0000-0000-00000000abcd;IngestionEndpoint=https://x.com"
    )


def test_no_secret_shows_in_a_repr() -> None:
    text = repr(load_settings(WorkerSettings)) + str(load_settings(ControlPlaneSettings))
    assert "hunter2" not in text
    assert KEY not in text


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_PORT", "")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "")
    settings = load_settings(WorkerSettings)
    assert settings.worker_port == 8080
    assert settings.azure_openai_api_key is None


def test_an_empty_transcription_model_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(CommonSettings).transcription_model == "gpt-4o-mini-transcribe"
    monkeypatch.setenv("TRANSCRIPTION_MODEL", "")
    assert load_settings(CommonSettings).transcription_model == ""


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REALTIME_MODEL=from-file\nLOG_LEVEL=ERROR\nUNKNOWN=1\n")
    monkeypatch.setenv("LOG_LEVEL", "WARNING")
    settings = load_settings(CommonSettings)
    assert (settings.realtime_model, settings.log_level) == ("from-file", "WARNING")
    assert load_settings(CommonSettings, env_file=None).realtime_model == "gpt-realtime"


def test_openai_needs_its_key_and_no_azure_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER", "openai")
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT")
    (line,) = problems(CommonSettings)
    assert line == "OPENAI_API_KEY: is missing, and PROVIDER is openai. Example: OPENAI_API_KEY=sk-…"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-something")
    assert load_settings(CommonSettings).provider == "openai"


def test_a_lease_must_survive_a_late_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASE_TTL_S", "3")
    (line,) = problems(WorkerSettings)
    assert line.startswith("LEASE_RENEW_S: must be at most half of LEASE_TTL_S")
    monkeypatch.setenv("LEASE_RENEW_S", "1")
    assert load_settings(WorkerSettings).lease_renew_s == 1


def test_importing_settings_loads_no_azure_library_and_no_sdk() -> None:
    """The Functions app reads its settings while it is being indexed: a cold start waits for this."""
    code = (
        "import sys, shared.settings\n"
        "heavy = [m for m in sys.modules if m.split('.')[0] in ('azure', 'jwt', 'openai', 'aiohttp')"
        " or m.startswith('opentelemetry')]\n"
        "print(heavy)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.strip() == "[]"


def test_webhook_secrets_are_optional_checked_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(ControlPlaneSettings).realtime_webhook_secrets is None
    monkeypatch.setenv("REALTIME_WEBHOOK_SECRETS", f"whsec_{KEY},whsec_{KEY}")
    settings = load_settings(ControlPlaneSettings)
    assert settings.realtime_webhook_secrets is not None
    assert KEY not in repr(settings)
    monkeypatch.setenv("REALTIME_WEBHOOK_SECRETS", f"whsec_{KEY},hunter2")
    (told,) = problems(ControlPlaneSettings)
    assert told.startswith("REALTIME_WEBHOOK_SECRETS: entry 2 does not start with whsec_; copy")
    assert "hunter2" not in told


ACS_NAMES = ("ACS_RESOURCE_ID", "ACS_CALLBACK_URL", "MEDIA_STREAM_URL")
ACS_GIVEN = {
    "ACS_CONNECTION_STRING": "endpoint=https://acs.communication.azure.com/;accesskey=c2VjcmV0LWh1bnRlcjI=",
    "ACS_RESOURCE_ID": "6F1C3D52-0A6E-4F43-9F0B-3A2F6D5C8E71",
    "ACS_CALLBACK_URL": "https://app.azurewebsites.net/",
    "MEDIA_STREAM_URL": "wss://worker.example/",
    "ACS_PHONE_NUMBER": "+1 (555) 0199 00",
    "ACS_RECORDING_CONTAINER": "https://files.blob.core.windows.net/recordings/",
}


def test_nothing_of_communication_services_is_needed_without_it() -> None:
    settings = load_settings(ControlPlaneSettings)
    assert (settings.acs_endpoint, settings.acs_connection_string, settings.acs_resource_id) == ("", None, "")


@pytest.mark.parametrize("variable", ["ACS_ENDPOINT", "ACS_CONNECTION_STRING"])
def test_communication_services_needs_its_other_settings(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    value = "https://acs.communication.azure.com" if variable == "ACS_ENDPOINT" else ACS_GIVEN[variable]
    monkeypatch.setenv(variable, value)
    told = problems(ControlPlaneSettings)
    assert [line.partition(":")[0] for line in told] == list(ACS_NAMES)
    assert all("is missing, and Azure Communication Services is set" in line for line in told)


def test_settings_of_communication_services_are_brought_into_form(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ACS_GIVEN.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(ControlPlaneSettings)
    assert settings.acs_resource_id == ACS_GIVEN["ACS_RESOURCE_ID"].lower()
    assert settings.acs_callback_url == "https://app.azurewebsites.net"
    assert settings.media_stream_url == "wss://worker.example"
    assert settings.acs_phone_number == "+1555019900"
    assert settings.acs_recording_container == "https://files.blob.core.windows.net/recordings"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ACS_CONNECTION_STRING", "endpoint=https://acs.example/", "copy it whole"),
        ("ACS_CONNECTION_STRING", "https://acs.example/", "must be endpoint=…;accesskey=…"),
        ("ACS_CONNECTION_STRING", "endpoint=https://acs.example/;accesskey=hunter2!", "is not base64"),
        ("ACS_CONNECTION_STRING", "endpoint=http://acs.example/;accesskey=a2V5", "must use https"),
        ("ACS_RESOURCE_ID", "/subscriptions/1/acs", "must be a GUID"),
        ("MEDIA_STREAM_URL", "https://worker.example", "must start with wss://"),
        ("MEDIA_STREAM_URL", "ws://worker.example", "must use wss"),
        ("MEDIA_STREAM_URL", "wss://worker.example?a=b", "must not have a query"),
        ("ACS_PHONE_NUMBER", "5550199", "with its country"),
        ("ACS_RECORDING_CONTAINER", "https://files.blob.core.windows.net/", "must name the container"),
        ("ACS_RECORDING_CONTAINER", "https://files.blob.core.windows.net/a?sig=1", "must not have a query"),
    ],
)
def test_wrong_settings_of_communication_services_are_told(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    for name, good in ACS_GIVEN.items():
        monkeypatch.setenv(name, good)
    monkeypatch.setenv(variable, value)
    (problem,) = [line for line in problems(ControlPlaneSettings) if line.startswith(variable)]
    assert told in problem
    assert "hunter2" not in problem
