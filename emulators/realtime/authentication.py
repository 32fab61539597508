"""Who may ask what: resource keys, Entra-shaped tokens and ephemeral `ek_` tokens."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

from aiohttp import web

from emulators.realtime.secrets_store import ClientSecret, SecretsStore
from emulators.realtime.wire import RejectedError

_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_AZURE_MESSAGE = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key "
    "for an active subscription and use a correct regional API endpoint for your resource."
)


class Authentication:
    """Checks the credentials of a request, comparing in constant time."""

    def __init__(self, keys: Sequence[str], *, accept_any_jwt: bool, secrets: SecretsStore) -> None:
        self._keys = [key.encode() for key in keys]
        self._accept_any_jwt = accept_any_jwt
        self._secrets = secrets

    def require_key(self, request: web.Request) -> None:
        """Accept a resource key (`api-key`, `Authorization: Bearer`, `?api-key=`) or an Entra token.

        Raises RejectedError (401) for anything else, ephemeral tokens included.
        """
        _refuse_preview(request)
        bearer = _bearer(request)
        offered = request.headers.get("api-key") or bearer or request.query.get("api-key") or ""
        if self._is_key(offered):
            return
        if self._accept_any_jwt and bearer and _JWT.fullmatch(bearer):
            return
        raise unauthorised(request)

    def require_key_or_secret(self, request: web.Request) -> ClientSecret | None:
        """As `require_key`, but an unexpired `ek_` token is good too; returns it when one was given."""
        _refuse_preview(request)
        bearer = _bearer(request)
        if not is_ephemeral(request):
            self.require_key(request)
            return None
        secret = self._secrets.find(bearer)
        if secret is None:
            raise RejectedError(
                "invalid_api_key" if _openai_form(request) else "401",
                "The ephemeral token is unknown or has expired. Create a new client secret.",
                status=401,
            )
        return secret

    def _is_key(self, offered: str) -> bool:
        given = offered.encode()
        return bool([key for key in self._keys if hmac.compare_digest(key, given)])


def is_ephemeral(request: web.Request) -> bool:
    """Whether the request carries an `ek_` token."""
    return _bearer(request).startswith("ek_")


def unauthorised(request: web.Request) -> RejectedError:
    """Return the 401 of the API form (Azure or OpenAI) that was addressed."""
    if _openai_form(request):
        return RejectedError("invalid_api_key", "Incorrect API key provided.", status=401)
    return RejectedError("401", _AZURE_MESSAGE, status=401, kind="invalid_request_error")


def _openai_form(request: web.Request) -> bool:
    return request.path.startswith("/v1/")


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refuse_preview(request: web.Request) -> None:
    if "api-version" in request.query:
        raise RejectedError(
            "401",
            "The GA Realtime API takes no api-version: remove the query parameter.",
            param="api-version",
            status=401,
        )
    if "realtime" in request.headers.get("OpenAI-Beta", ""):
        raise RejectedError(
            "beta_api_shape_disabled",
            "The Realtime Beta API is no longer supported. Remove the OpenAI-Beta header to use the GA API.",
            status=400,
        )
