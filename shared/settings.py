"""The settings of both planes: environment first, then `.env`, then Key Vault for secrets.

Every field is read from the environment variable of its own name in capitals. `load_settings`
checks all of them at once and tells, per variable, what is wrong and how a right value looks.
The only module that imports pydantic-settings (its import takes most of ours).
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Literal, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared.errors import SidetoneError
from shared.security.signing_keys import parse_signing_keys
from shared.security.webhook_secrets import parse_webhook_secrets
from shared.session.prices import EXAMPLE_PRICES, parse_prices

_UNAMBIGUOUS = "abcdefghjkmnpqrstvwxyz"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAY_BE_EMPTY = frozenset({"transcription_model"})
_NEEDED_BY_PROVIDER = {"azure_openai": "azure_openai_endpoint", "openai": "openai_api_key", "": ""}


class SettingsError(SidetoneError):
    """The settings do not fit. `problems` has one line a variable: its name, what is wrong, an example."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(
            "invalid_settings",
            "Set these environment variables (or put them into .env):\n" + "\n".join(problems),
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
        )
        self.problems = problems


def _http_base(value: str) -> str:
    """Return an http(s) base address without its trailing slash; http only where no network is crossed."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("must start with https:// and name a host")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    if parts.query:
        raise ValueError(f"must not have a query; leave out ?{parts.query.split('=')[0]}=…")
    if parts.fragment:
        raise ValueError("must not have a fragment")
    if parts.scheme == "http" and "." in host and not host.startswith("127.") and ":" not in host:
        raise ValueError("must use https; http is only for this machine and its containers")
    return value.rstrip("/")


def _origin(value: str) -> str:
    if not value:
        return ""
    base = _http_base(value)
    path = urlsplit(base).path
    if path:
        raise ValueError(f"must be the resource's address alone; leave out {path}")
    return base


def _is_origin(value: str) -> bool:
    try:
        return bool(_origin(value))
    except ValueError:
        return False


def _otlp_base(value: str) -> str:
    base = _http_base(value) if value else ""
    for signal in ("/v1/traces", "/v1/metrics", "/v1/logs"):
        if base.endswith(signal):
            raise ValueError(f"is the base address; leave out {signal}")
    return base


def _redis_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("must start with rediss:// (or redis:// without TLS) and name a host")
    return value


def _signing_keys(value: SecretStr) -> SecretStr:
    parse_signing_keys(value.get_secret_value())
    return value


def _token_prices(value: str) -> str:
    parse_prices(value)
    return value


def _webhook_secrets(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        parse_webhook_secrets(value.get_secret_value())
    return value


def _connection_string(value: SecretStr | None) -> SecretStr | None:
    """Return it in the form that the exporter reads: no trailing `;` or `/`, the key in lower case."""
    if value is None:
        return None
    parts: list[str] = []
    instrumentation_key = ""
    for part in value.get_secret_value().strip().split(";"):
        if not part.strip():
            continue
        key, equals, content = (text.strip() for text in part.partition("="))
        if not equals or not key or not content or "=" in content:
            raise ValueError("must be Key=Value pairs with ; between them")
        if key.lower() == "instrumentationkey":
            content = instrumentation_key = content.lower()
        if key.lower().endswith("endpoint"):
            content = content.rstrip("/")  # the exporter puts /v2.1/track behind it
        parts.append(f"{key}={content}")
    if not instrumentation_key:
        raise ValueError("has no InstrumentationKey; copy the whole connection string")
    if not _UUID.fullmatch(instrumentation_key):
        raise ValueError("has an InstrumentationKey that is not a UUID")
    return SecretStr(";".join(parts))


def _log_level(value: str) -> str:
    if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return value.upper()


def _new_worker_id() -> str:
    tail = "".join(secrets.choice(_UNAMBIGUOUS) for _ in range(6))
    return f"{socket.gethostname()}-{os.getpid()}-{tail}"


Origin = Annotated[str, AfterValidator(_origin)]


class CommonSettings(BaseSettings):
    """What both planes need."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    redis_url: Annotated[str, AfterValidator(_redis_address)] = Field(
        repr=False, examples=["rediss://NAME.REGION.redis.azure.net:10000"]
    )
    provider: Literal["azure_openai", "openai"] = "azure_openai"
    azure_openai_endpoint: Origin = Field(
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
    signing_keys: Annotated[SecretStr, AfterValidator(_signing_keys)] = Field(
        examples=["k1:BASE64 (make one: openssl rand -base64 32)"]
    )
    key_vault_url: Origin = Field(default="", examples=["https://NAME.vault.azure.net"])
    session_retention_s: int = Field(default=7 * 86400, ge=60, le=90 * 86400, examples=["604800"])
    applicationinsights_connection_string: Annotated[SecretStr | None, AfterValidator(_connection_string)] = (
        Field(
            default=None,
            examples=[
                "InstrumentationKey=UUID;IngestionEndpoint=https://REGION.in.applicationinsights.azure.com/"
            ],
        )
    )
    applicationinsights_authentication_string: str = Field(default="", examples=["Authorization=AAD"])
    otel_exporter_otlp_endpoint: Annotated[str, AfterValidator(_otlp_base)] = Field(
        default="", examples=["http://127.0.0.1:4318"]
    )
    telemetry_sampling_ratio: float = Field(default=1.0, ge=0, le=1, examples=["0.25"])
    telemetry_live_metrics: bool = Field(default=False, examples=["false"])
    log_level: Annotated[str, AfterValidator(_log_level)] = Field(default="INFO", examples=["INFO"])

    @field_validator("azure_openai_endpoint", "openai_api_key")
    @classmethod
    def _provider_has_what_it_needs(cls, value: object, info: ValidationInfo) -> object:
        if not value and _NEEDED_BY_PROVIDER[info.data.get("provider", "")] == info.field_name:
            raise ValueError(f"is missing, and PROVIDER is {info.data['provider']}")
        return value

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
            _EmptyMeansUnset(settings_cls, env_settings),
            _EmptyMeansUnset(settings_cls, dotenv_settings),
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
    realtime_webhook_secrets: Annotated[SecretStr | None, AfterValidator(_webhook_secrets)] = Field(
        default=None, examples=["whsec_… (two while one replaces the other: whsec_…,whsec_…)"]
    )


class WorkerSettings(CommonSettings):
    """What a worker needs."""

    control_plane_url: Origin = Field(min_length=1, examples=["https://NAME.azurewebsites.net"])
    worker_id: str = Field(
        default_factory=_new_worker_id, pattern=r"^[A-Za-z0-9._-]{1,128}$", examples=["worker-1"]
    )
    worker_host: str = Field(default="0.0.0.0", min_length=1, examples=["0.0.0.0"])
    worker_port: int = Field(default=8080, ge=0, le=65535, examples=["8080"])
    max_sessions: int = Field(default=100, ge=1, le=10_000, examples=["100"])
    lease_ttl_s: float = Field(default=6.0, ge=0.2, le=300, examples=["6"])
    lease_renew_s: float = Field(default=2.0, validate_default=True, ge=0.05, le=100, examples=["2"])
    attach_timeout_s: float = Field(default=20.0, gt=0, le=300, examples=["20"])
    provider_ping_s: float = Field(default=20.0, gt=0, le=300, examples=["20"])
    # How long a stopping worker keeps calls that no other worker has room for, or whose audio it carries.
    drain_s: float = Field(default=20.0, ge=0, le=3600, examples=["20"])
    # Of a million tokens, in one currency; what `limits.max_cost` of the agents is counted in.
    token_prices: Annotated[str, AfterValidator(_token_prices)] = Field(default="", examples=[EXAMPLE_PRICES])

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


class _EmptyMeansUnset(PydanticBaseSettingsSource):
    """A source without its empty values, so that `NAME=` is as good as no NAME."""

    def __init__(self, settings_cls: type[BaseSettings], source: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._source = source

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, object]:
        return {
            name: value
            for name, value in self._source().items()
            if value not in ("", None) or name in _MAY_BE_EMPTY
        }


class KeyVaultSecrets(PydanticBaseSettingsSource):
    """Secrets that no earlier source gave, from the Key Vault that KEY_VAULT_URL names.

    A secret's name is the variable's in lower case with dashes: AZURE_OPENAI_API_KEY is
    `azure-openai-api-key`. Without KEY_VAULT_URL, or with nothing missing, no vault is contacted and
    no Azure library imported.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        return None, field_name, False

    def missing(self) -> list[str]:
        """Return the secret settings that earlier sources left open."""
        return [
            name
            for name, field in self.settings_cls.model_fields.items()
            if "SecretStr" in str(field.annotation) and name not in self.current_state
        ]

    def __call__(self) -> dict[str, object]:
        url = str(self.current_state.get("key_vault_url") or "")
        missing = self.missing()
        if not missing or not _is_origin(url):
            return {}  # a wrong address is told when the field is checked
        return _read_vault(self.settings_cls, url.rstrip("/"), missing)


def _read_vault(settings_cls: type[BaseSettings], url: str, names: list[str]) -> dict[str, object]:
    from azure.core.exceptions import AzureError
    from azure.identity import DefaultAzureCredential
    from pydantic_settings import AzureKeyVaultSettingsSource

    try:
        with DefaultAzureCredential() as credential:
            found = AzureKeyVaultSettingsSource(settings_cls, url, credential, dash_to_underscore=True)()
    except AzureError as error:
        raise SettingsError(
            (
                f"KEY_VAULT_URL: the vault could not be read ({type(error).__name__}). Give this "
                "app's identity the role Key Vault Secrets User. Example: KEY_VAULT_URL=https://NAME.vault.azure.net",
            )
        ) from error
    return {name: found[name] for name in names if found.get(name)}


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
