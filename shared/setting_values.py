"""What single settings may be: each function returns the value in its own form, or raises ValueError."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared.security.signing_keys import parse_signing_keys
from shared.security.webhook_secrets import parse_webhook_secrets
from shared.session.prices import parse_prices

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def http_base(value: str) -> str:
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


def blob_container(value: str) -> str:
    """Return the address of a blob container, "" for none."""
    if not value:
        return ""
    address = http_base(value)
    if not urlsplit(address).path.strip("/"):
        raise ValueError("must name the container behind the host")
    return address


def origin(value: str) -> str:
    if not value:
        return ""
    base = http_base(value)
    path = urlsplit(base).path
    if path:
        raise ValueError(f"must be the resource's address alone; leave out {path}")
    return base


def model_endpoint(value: str) -> str:
    """Return the address of an Azure OpenAI resource, or ""."""
    checked = origin(value)
    host = urlsplit(checked).hostname or ""
    if host.endswith(".api.cognitive.microsoft.com"):
        raise ValueError("is the address of a region, where no identity is known; use the resource's own")
    return checked


def is_origin(value: str) -> bool:
    try:
        return bool(origin(value))
    except ValueError:
        return False


def otlp_base(value: str) -> str:
    base = http_base(value) if value else ""
    for signal in ("/v1/traces", "/v1/metrics", "/v1/logs"):
        if base.endswith(signal):
            raise ValueError(f"is the base address; leave out {signal}")
    return base


def redis_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("must start with rediss:// (or redis:// without TLS) and name a host")
    if parts.hostname.endswith(".redis.azure.net") and (parts.scheme, port) != ("rediss", 10000):
        raise ValueError("must start with rediss:// and end with :10000, where Azure Managed Redis listens")
    return value


def signing_keys(value: SecretStr) -> SecretStr:
    parse_signing_keys(value.get_secret_value())
    return value


def token_prices(value: str) -> str:
    parse_prices(value)
    return value


def webhook_secrets(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        parse_webhook_secrets(value.get_secret_value())
    return value


def connection_string(value: SecretStr | None) -> SecretStr | None:
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


def log_level(value: str) -> str:
    if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return value.upper()


def guid(value: str) -> str:
    """Return a GUID in lower case, or ""."""
    if value and not _UUID.fullmatch(value.lower()):
        raise ValueError("must be a GUID")
    return value.lower()


def socket_base(value: str) -> str:
    """Return a wss (here also ws) base address without its trailing slash, or ""."""
    if not value:
        return ""
    if not value.startswith(("wss://", "ws://")):
        raise ValueError("must start with wss:// and name a host")
    try:
        return "ws" + http_base("http" + value.removeprefix("ws")).removeprefix("http")
    except ValueError as error:
        raise ValueError(str(error).replace("https", "wss").replace("http", "ws")) from None


def phone_number(value: str) -> str:
    """Return a number with its plus and country, without separators, or ""."""
    number = re.sub(r"[\s().\-]", "", value)
    if number and not re.fullmatch(r"\+[1-9][0-9]{5,14}", number):
        raise ValueError("must be a number with its country, as in +15550199")
    return number


def acs_connection_string(value: SecretStr | None) -> SecretStr | None:
    """Check that it names an endpoint and a key."""
    if value is not None:
        parse_acs_connection_string(value.get_secret_value())
    return value


def parse_acs_connection_string(text: str) -> tuple[str, str]:
    """Return the endpoint (without a trailing slash, which the SDK would sign wrongly) and the access key.

    Raises ValueError that never holds the key.
    """
    found: dict[str, str] = {}
    for part in text.strip().split(";"):
        name, equals, content = part.partition("=")
        if part.strip() and not equals:
            raise ValueError("must be endpoint=…;accesskey=…")
        found[name.strip().lower()] = content.strip()
    endpoint, key = found.get("endpoint", ""), found.get("accesskey", "")
    if not endpoint or not key:
        raise ValueError("must be endpoint=…;accesskey=…; copy it whole")
    try:
        base64.b64decode(key, validate=True)
    except binascii.Error:
        raise ValueError("has an accesskey that is not base64; copy it whole") from None
    try:
        return origin(endpoint), key
    except ValueError as error:
        raise ValueError(f"has an endpoint that {error}") from None
