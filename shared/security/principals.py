"""Who calls the API: a stable digest of the caller, never the credential itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from shared.errors import UnauthorizedError

_DIGEST_LENGTH = 16


def principal_of(
    headers: Mapping[str, str], query: Mapping[str, str], api_auth: str, easy_auth_enabled: bool
) -> str:
    """Return who sent a request, for limits and the session record.

    api_auth "function_key": "key:" and a digest of the function key (the `x-functions-key` header or the
    `code` parameter). The Functions host has verified the key before our code runs. "local" where there is
    none, which only a host without key checks lets through.
    api_auth "easy_auth": "user:" and a digest of the platform's `x-ms-client-principal-id`. These headers
    are only worth anything behind App Service authentication, which strips what a caller forges; so without
    `easy_auth_enabled` (the platform's WEBSITE_AUTH_ENABLED) nobody is let in.

    Raises UnauthorizedError `not_authenticated`.
    """
    if api_auth == "easy_auth":
        return _signed_in_user(headers, easy_auth_enabled)
    key = _header(headers, "x-functions-key") or query.get("code", "")
    return f"key:{_digest(key)}" if key else "local"


def _signed_in_user(headers: Mapping[str, str], easy_auth_enabled: bool) -> str:
    if not easy_auth_enabled:
        raise UnauthorizedError(
            "not_authenticated",
            "API_AUTH is easy_auth, but App Service authentication is off for this app; switch it on.",
        )
    user = _header(headers, "x-ms-client-principal-id")
    if not user:
        raise UnauthorizedError("not_authenticated", "Sign in first: the request carries no principal.")
    return f"user:{_digest(_header(headers, 'x-ms-client-principal-idp') + ':' + user)}"


def _header(headers: Mapping[str, str], name: str) -> str:
    for key, value in headers.items():
        if key.lower() == name:
            return value.strip()
    return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
