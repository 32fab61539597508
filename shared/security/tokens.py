"""Tokens that we issue and verify ourselves: JWT (RFC 7519) signed with HMAC-SHA256.

A client token lets a browser act on its own session and on nothing else. A service token
says to the control plane that one of our workers is calling; an approver's token names the
person who decides approvals. A media token and a callback
token travel in the two addresses that a carrier is given for a call; each is good for that
call's session and that address. The audience keeps the kinds apart; the `kid` header names
the key, so that keys can be rotated without a pause: put the new key first, drop the old one
when its last token has expired.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping

from shared.errors import ForbiddenError, UnauthorizedError
from shared.security.signing_keys import parse_signing_keys

_ISSUER = "sidetone"
_CLIENT = "sidetone:client"
_SERVICE = "sidetone:service"
_APPROVER = "sidetone:approver"
_MEDIA = "sidetone:media"
_CALLBACK = "sidetone:callback"
_ALGORITHM = "HS256"
_LEEWAY_S = 5
_MAXIMUM_LENGTH = 2048


class TokenRing:
    """Issues and verifies our tokens with the keys of the setting SIGNING_KEYS."""

    def __init__(self, keys: str) -> None:
        """Take "kid:base64,…"; the first key signs. Raises ValueError where a key is missing or weak."""
        parsed = parse_signing_keys(keys)
        self._signing_key = parsed[0]
        self._secrets = {key.key_id: key.secret for key in parsed}

    def __repr__(self) -> str:
        return f"TokenRing({', '.join(self._secrets)})"

    def issue_client_token(self, session_id: str, ttl_s: float) -> str:
        """Return a token that is good for this one session and `ttl_s` seconds."""
        return self._issue(_CLIENT, session_id, ttl_s)

    def verify_client_token(self, token: str, session_id: str) -> None:
        """Return if `token` is one of ours for `session_id`.

        Raises UnauthorizedError `client_token_expired` or `client_token_invalid`, and ForbiddenError
        `client_token_other_session` for a good token of another session.
        """
        self._verify_session(token, _CLIENT, "client_token", session_id)

    def issue_service_token(self, subject: str, ttl_s: float = 60) -> str:
        """Return a token with which the worker `subject` calls the control plane."""
        return self._issue(_SERVICE, subject, ttl_s)

    def verify_service_token(self, token: str) -> str:
        """Return the worker that `token` speaks for.

        Raises UnauthorizedError `service_token_expired` or `service_token_invalid`.
        """
        return self._verify(token, _SERVICE, "service_token")

    def issue_approver_token(self, name: str, ttl_s: float) -> str:
        """Return a token with which the person called `name` decides approvals."""
        return self._issue(_APPROVER, name, ttl_s)

    def verify_approver_token(self, token: str) -> str:
        """Return the name of the person that `token` speaks for.

        Raises UnauthorizedError `approver_token_expired` or `approver_token_invalid`.
        """
        return self._verify(token, _APPROVER, "approver_token")

    def issue_media_token(self, session_id: str, ttl_s: float) -> str:
        """Return a token with which a carrier may open this one session's media socket for `ttl_s` seconds.

        It travels in a URL that the carrier keeps, and dials again after an interruption: so it has to
        live as long as the call may.
        """
        return self._issue(_MEDIA, session_id, ttl_s)

    def verify_media_token(self, token: str, session_id: str) -> None:
        """Return if `token` is one of ours for the media of `session_id`.

        Raises UnauthorizedError `media_token_expired` or `media_token_invalid`, and ForbiddenError
        `media_token_other_session` for a good token of another session.
        """
        self._verify_session(token, _MEDIA, "media_token", session_id)

    def issue_callback_token(self, session_id: str, ttl_s: float) -> str:
        """Return a token with which a carrier may tell of this one session's call for `ttl_s` seconds."""
        return self._issue(_CALLBACK, session_id, ttl_s)

    def verify_callback_token(self, token: str, session_id: str) -> None:
        """Return if `token` is one of ours for callbacks about `session_id`.

        Raises UnauthorizedError `callback_token_expired` or `callback_token_invalid`, and ForbiddenError
        `callback_token_other_session` for a good token of another session.
        """
        self._verify_session(token, _CALLBACK, "callback_token", session_id)

    def _verify_session(self, token: str, audience: str, kind: str, session_id: str) -> None:
        subject = self._verify(token, audience, kind)
        if not hmac.compare_digest(subject.encode(), session_id.encode()):
            name = kind.replace("_", " ")
            raise ForbiddenError(
                f"{kind}_other_session", f"This {name} belongs to another session; use its own."
            )

    def _issue(self, audience: str, subject: str, ttl_s: float) -> str:
        import jwt  # here, because it takes longer to load than function_app.py has

        now = time.time()
        claims = {"iss": _ISSUER, "aud": audience, "sub": subject, "iat": int(now), "exp": int(now + ttl_s)}
        key = self._signing_key
        return jwt.encode(claims, key.secret, algorithm=_ALGORITHM, headers={"kid": key.key_id})

    def _verify(self, token: str, audience: str, kind: str) -> str:
        import jwt

        try:
            subject = self._claims(token, audience).get("sub")
        except jwt.ExpiredSignatureError:
            raise UnauthorizedError(f"{kind}_expired", "The token has expired; get a new one.") from None
        except jwt.PyJWTError:
            subject = None
        if not isinstance(subject, str) or not subject:
            raise UnauthorizedError(
                f"{kind}_invalid",
                "The token is not one of ours for this purpose; send it whole.",
            )
        return subject

    def _claims(self, token: str, audience: str) -> Mapping[str, object]:
        import jwt

        if len(token) > _MAXIMUM_LENGTH:
            raise jwt.InvalidTokenError("longer than any of ours")
        secret = self._secrets.get(str(jwt.get_unverified_header(token).get("kid", "")))
        if secret is None:
            raise jwt.InvalidTokenError("signed with a key that is not in the ring")
        return jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=audience,
            issuer=_ISSUER,
            leeway=_LEEWAY_S,
            options={"require": ["exp", "iat", "sub", "aud", "iss"]},
        )
