"""Ephemeral client secrets, each bound to a session configuration."""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field

from emulators.realtime.ids import IdSource
from emulators.realtime.session.configuration import SessionConfiguration
from emulators.realtime.session.validation import (
    check_session,
    missing,
    number,
    one_of,
    only_keys,
    optional_object,
)
from emulators.realtime.wire import Json, as_text

_DEFAULT_SECONDS = 600
_MOST_SECRETS = 10_000


@dataclass(frozen=True, kw_only=True)
class ClientSecret:
    """A token that may start calls with `session` until `expires_at` (unix seconds)."""

    value: str = field(repr=False)
    expires_at: int
    session: Json
    model: str


class SecretsStore:
    """All client secrets that have not expired."""

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids
        self._secrets: dict[str, ClientSecret] = {}

    def create(self, body: Json) -> Json:
        """Answer `POST …/client_secrets`; raises RejectedError for a body the service refuses."""
        only_keys(body, ("expires_after", "session"), "body")
        expires = optional_object(body, "expires_after", "body")
        only_keys(expires, ("anchor", "seconds"), "expires_after")
        if expires.get("anchor") is not None:
            one_of(expires["anchor"], ("created_at",), "expires_after.anchor")
        number(expires, "seconds", "expires_after", low=10, high=7200, whole=True)
        seconds = expires.get("seconds")
        session = check_session(body.get("session"))
        model = as_text(session.get("model"))
        if model is None and session["type"] == "realtime":
            raise missing("session.model")
        value = f"ek_{secrets.token_hex(16)}"
        expires_at = int(time.time()) + (seconds if isinstance(seconds, int) else _DEFAULT_SECONDS)
        secret = ClientSecret(value=value, expires_at=expires_at, session=session, model=model or "")
        self._forget_expired()
        self._secrets[value] = secret
        effective = SessionConfiguration(session, session_id=self._ids.new("sess"), model=secret.model)
        return {"value": value, "expires_at": expires_at, "session": effective.snapshot()}

    def find(self, token: str) -> ClientSecret | None:
        """Return the secret called `token`, None when it is unknown or expired."""
        secret = self._secrets.get(token)
        if secret is None or not hmac.compare_digest(secret.value, token):
            return None
        return secret if secret.expires_at > time.time() else None

    def expire_all(self) -> int:
        """Let every secret expire now (a fault); return how many."""
        count = len(self._secrets)
        self._secrets.clear()
        return count

    def _forget_expired(self) -> None:
        if len(self._secrets) >= _MOST_SECRETS:
            now = time.time()
            self._secrets = {name: one for name, one in self._secrets.items() if one.expires_at > now}
