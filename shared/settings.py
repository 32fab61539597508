"""The settings of both planes: environment first, then `.env`, then Key Vault for secrets.

Every field is read from the environment variable of its own name in capitals. `load_settings`
checks all of them at once and tells, per variable, what is wrong and how a right value looks.
With shared.setting_sources the only module that imports pydantic-settings (its import takes most of ours).
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeVar, cast

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared import setting_values as values
from shared.session.prices import EXAMPLE_PRICES
from shared.setting_sources import EmptyMeansUnset, KeyVaultSecrets, SettingsError

__all__ = [
    "CommonSettings",
    "ControlPlaneSettings",
    "KeyVaultSecrets",
    "SettingsError",
    "WorkerSettings",
    "load_settings",
]

_UNAMBIGUOUS = "abcdefghjkmnpqrstvwxyz"
_NEEDED_BY_PROVIDER = {"azure_openai": "azure_openai_endpoint", "openai": "openai_api_key", "": ""}


def _new_worker_id() -> str:
    tail = "".join(secrets.choice(_UNAMBIGUOUS) for _ in range(6))
    return f"{socket.gethostname()}-{os.getpid()}-{tail}"


def _needed_for_acs(value: str, info: ValidationInfo) -> str:
    if not value and (info.data.get("acs_endpoint") or info.data.get("acs_connection_string")):
        raise ValueError("is missing, and Azure Communication Services is set")
    return value


Origin = Annotated[str, AfterValidator(values.origin)]
MonitorConnection = Annotated[SecretStr | None, AfterValidator(values.connection_string)]
HttpBase = Annotated[str, AfterValidator(values.http_base)]


class CommonSettings(BaseSettings):
    """What both planes need."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    redis_url: Annotated[str, AfterValidator(values.redis_address)] = Field(
        repr=False, examples=["rediss://NAME.REGION.redis.azure.net:10000"]
    )
    provider: Literal["azure_openai", "openai"] = "azure_openai"
    azure_openai_endpoint: Annotated[str, AfterValidator(values.model_endpoint)] = Field(
        default="", validate_default=True, examples=["https://NAME.openai.azure.com"]
    )
    azure_openai_api_key: SecretStr | None = None
    azure_openai_scope: str = Field(
        default="https://cognitiveservices.azure.com/.default",
        examples=["https://cognitiveservices.azure.com/.default"],
    )
    realtime_model: str = Field(default="gpt-realtime", min_length=1, examples=["gpt-realtime"])
    transcription_model: str = "gpt-4o-mini-transcribe"
    openai_api_key: SecretStr | None = Field(default=None, validate_default=True, examples=["sk-…"])
    agents_dir: str = Field(default="agents", min_length=1, examples=["agents"])
    # Read the agents again when their files change: for development.
    agents_reload: bool = Field(default=False, examples=["true"])
    signing_keys: Annotated[SecretStr, AfterValidator(values.signing_keys)] = Field(
        examples=["k1:BASE64 (make one: openssl rand -base64 32)"]
    )
    key_vault_url: Origin = Field(default="", examples=["https://NAME.vault.azure.net"])
    session_retention_s: int = Field(default=7 * 86400, ge=60, le=90 * 86400, examples=["604800"])
    applicationinsights_connection_string: Annotated[
        SecretStr | None, AfterValidator(values.connection_string)
    ] = Field(
        default=None,
        examples=[
            "InstrumentationKey=UUID;IngestionEndpoint=https://REGION.in.applicationinsights.azure.com/"
        ],
    )
    applicationinsights_authentication_string: str = Field(default="", examples=["Authorization=AAD"])
    otel_exporter_otlp_endpoint: Annotated[str, AfterValidator(values.otlp_base)] = Field(
        default="", examples=["http://127.0.0.1:4318"]
    )
    telemetry_sampling_ratio: float = Field(default=1.0, ge=0, le=1, examples=["0.25"])
    telemetry_live_metrics: bool = Field(default=False, examples=["false"])
    # Azure Communication Services: endpoint and identity, or a connection string; and how it signs.
    acs_endpoint: Origin = Field(default="", examples=["https://NAME.communication.azure.com"])
    acs_connection_string: Annotated[SecretStr | None, AfterValidator(values.acs_connection_string)] = Field(
        default=None, examples=["endpoint=https://NAME.communication.azure.com/;accesskey=…"]
    )
    acs_resource_id: Annotated[str, AfterValidator(values.guid)] = Field(
        default="", validate_default=True, examples=["00000000-0000-0000-0000-000000000000"]
    )
    acs_token_issuer: HttpBase = Field(
        default="https://acscallautomation.communication.azure.com",
        examples=["https://acscallautomation.communication.azure.com"],
    )
    acs_keys_url: HttpBase = Field(
        default="https://acscallautomation.communication.azure.com/calling/keys",
        examples=["https://acscallautomation.communication.azure.com/calling/keys"],
    )
    log_level: Annotated[str, AfterValidator(values.log_level)] = Field(default="INFO", examples=["INFO"])

    @field_validator("azure_openai_endpoint", "openai_api_key")
    @classmethod
    def _provider_has_what_it_needs(cls, value: object, info: ValidationInfo) -> object:
        if not value and _NEEDED_BY_PROVIDER[info.data.get("provider", "")] == info.field_name:
            raise ValueError(f"is missing, and PROVIDER is {info.data['provider']}")
        return value

    @field_validator("acs_resource_id")
    @classmethod
    def _callbacks_can_be_verified(cls, value: str, info: ValidationInfo) -> str:
        return _needed_for_acs(value, info)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, `.env`, then Key Vault for missing secrets."""
        return (
            init_settings,
            EmptyMeansUnset(settings_cls, env_settings),
            EmptyMeansUnset(settings_cls, dotenv_settings),
            KeyVaultSecrets(settings_cls),
        )


class ControlPlaneSettings(CommonSettings):
    """What the Functions app needs."""

    api_auth: Literal["function_key", "easy_auth"] = "function_key"
    website_auth_enabled: bool = Field(default=False, examples=["true"])
    token_rate_per_minute: int = Field(default=30, ge=1, le=100_000, examples=["30"])
    max_live_sessions_per_principal: int = Field(default=10, ge=1, le=100_000, examples=["10"])
    client_secret_ttl_s: int = Field(default=60, ge=10, le=7200, examples=["60"])
    client_token_ttl_s: int = Field(default=7200, ge=60, le=86400, examples=["7200"])
    connect_timeout_s: float = Field(default=30, gt=0, le=600, examples=["30"])
    max_call_duration_s: int = Field(default=3300, ge=1, le=3600, examples=["3300"])
    attach_wait_s: float = Field(default=5.0, gt=0, le=60, examples=["5"])
    max_body_bytes: int = Field(default=65536, ge=1024, le=1_048_576, examples=["65536"])
    realtime_webhook_secrets: Annotated[SecretStr | None, AfterValidator(values.webhook_secrets)] = Field(
        default=None, examples=["whsec_… (two while one replaces the other: whsec_…,whsec_…)"]
    )
    # Where Azure Communication Services reaches this app, and the workers; and the number that calls out.
    acs_callback_url: Origin = Field(
        default="", validate_default=True, examples=["https://NAME.azurewebsites.net"]
    )
    media_stream_url: Annotated[str, AfterValidator(values.socket_base)] = Field(
        default="", validate_default=True, examples=["wss://WORKER.REGION.azurecontainerapps.io"]
    )
    acs_phone_number: Annotated[str, AfterValidator(values.phone_number)] = Field(
        default="", examples=["+15550199"]
    )
    acs_recording_container: Annotated[str, AfterValidator(values.blob_container)] = Field(
        default="", examples=["https://NAME.blob.core.windows.net/recordings"]
    )
    outbound_calls_per_minute: int = Field(default=10, ge=1, le=10_000, examples=["10"])
    call_control_per_minute: int = Field(default=120, ge=1, le=100_000, examples=["120"])
    # The MCP server for operators: how often one may ask, and web pages that may (origins, with commas).
    mcp_requests_per_minute: int = Field(default=120, ge=1, le=100_000, examples=["120"])
    mcp_allowed_origins: str = Field(default="", examples=["https://console.example,https://ops.example"])

    @field_validator("acs_callback_url", "media_stream_url")
    @classmethod
    def _acs_reaches_us(cls, value: str, info: ValidationInfo) -> str:
        return _needed_for_acs(value, info)


class WorkerSettings(CommonSettings):
    """What a worker needs."""

    control_plane_url: Origin = Field(min_length=1, examples=["https://NAME.azurewebsites.net"])
    worker_id: str = Field(
        default_factory=_new_worker_id, pattern=r"^[A-Za-z0-9._-]{1,128}$", examples=["worker-1"]
    )
    worker_host: str = Field(default="0.0.0.0", min_length=1, examples=["0.0.0.0"])
    worker_port: int = Field(default=8080, ge=0, le=65535, examples=["8080"])
    max_sessions: int = Field(default=100, ge=1, le=10_000, examples=["100"])
    # What a platform that scales shows when it asks GET /load, and how much room above the calls that are
    # there it shall keep: as many as begin while another worker starts.
    scale_key: SecretStr | None = Field(default=None, examples=["BASE64 (openssl rand -base64 32)"])
    spare_sessions: int = Field(default=20, ge=0, le=10_000, examples=["20"])
    lease_ttl_s: float = Field(default=6.0, ge=0.2, le=300, examples=["6"])
    lease_renew_s: float = Field(default=2.0, validate_default=True, ge=0.05, le=100, examples=["2"])
    attach_timeout_s: float = Field(default=20.0, gt=0, le=300, examples=["20"])
    provider_ping_s: float = Field(default=20.0, gt=0, le=300, examples=["20"])
    # How long a stopping worker keeps calls that no other worker has room for, or whose audio it carries.
    drain_s: float = Field(default=20.0, ge=0, le=3600, examples=["20"])
    # How long a phone call's media socket may be gone until the carrier is asked to open it, and once more as
    # long until the session ends.
    media_wait_s: float = Field(default=30.0, gt=0, le=300, examples=["30"])
    # How long calls wait for MCP servers that have not answered yet; and whether servers may be commands that
    # the worker starts, which is for development.
    mcp_wait_s: float = Field(default=1.0, ge=0, le=10, examples=["1"])
    mcp_allow_stdio: bool = Field(default=False, examples=["false"])
    # Of a million tokens, in one currency; what `limits.max_cost` of the agents is counted in.
    token_prices: Annotated[str, AfterValidator(values.token_prices)] = Field(
        default="", examples=[EXAMPLE_PRICES]
    )

    # Where sessions are recorded for replay, without what is said; empty: nowhere. Bounds of one recording,
    # of all together, and the share of sessions.
    recordings_dir: str = Field(default="", examples=["/var/lib/sidetone/recordings"])
    recording_max_bytes: int = Field(default=5 << 20, ge=4096, le=1 << 30, examples=["5242880"])
    recording_max_s: float = Field(default=3600, gt=0, le=86400, examples=["3600"])
    recordings_max_bytes: int = Field(default=1 << 30, ge=4096, examples=["1073741824"])
    recorded_share: float = Field(default=1.0, ge=0, le=1, examples=["0.1"])

    @field_validator("lease_renew_s")
    @classmethod
    def _leases_outlive_a_late_renewal(cls, value: float, info: ValidationInfo) -> float:
        if value * 2 > info.data.get("lease_ttl_s", value * 2):
            raise ValueError("must be at most half of LEASE_TTL_S, or one late renewal loses every call")
        return value


S = TypeVar("S", bound=CommonSettings)


def load_settings(cls: type[S], *, env_file: str | None = ".env") -> S:
    """Return the settings of this process, an instance of `cls`.

    Raises SettingsError that lists every variable that is missing or wrong.
    """
    try:
        return cast("Callable[..., S]", cls)(_env_file=env_file)
    except ValidationError as error:
        problems = tuple(_problem(cls, dict(detail)) for detail in error.errors(include_url=False))
    raise SettingsError(problems)


def _problem(cls: type[CommonSettings], detail: Mapping[str, object]) -> str:
    location = cast("tuple[object, ...]", detail["loc"])
    context = cast("Mapping[str, object]", detail.get("ctx") or {})
    name = str(location[0])
    variable = name.upper()
    field = cls.model_fields[name]
    examples = field.examples or [field.default]
    return f"{variable}: {_what_is_wrong(str(detail['type']), context, str(detail['msg']))}. " + (
        f"Example: {variable}={examples[0]}"
    )


def _what_is_wrong(kind: str, context: Mapping[str, object], message: str) -> str:
    match kind:
        case "missing" | "string_too_short":
            return "is missing"
        case "int_parsing" | "int_from_float" | "int_type":
            return "must be a whole number"
        case "float_parsing" | "float_type" | "finite_number":
            return "must be a number"
        case "bool_parsing" | "bool_type":
            return "must be true or false"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "greater_than":
            return f"must be more than {context['gt']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "literal_error":
            return f"must be {context['expected']}"
        case "value_error":
            return str(context["error"])
        case "string_pattern_mismatch":
            return "may have letters, digits, dots, _ and -, 128 at most"
        case _:
            return message
