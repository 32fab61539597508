"""Whether a callback or a media socket comes from Azure Communication Services: its JWT, verified.

Source: Microsoft Learn, "Secure webhook endpoints and WebSocket connections" of Call Automation: RS256,
issued by `https://acscallautomation.communication.azure.com` for the resource's immutable id, good for
five minutes, a new one each time, keys below `/calling/keys`.
"""

from __future__ import annotations

from shared.errors import UnauthorizedError
from shared.security.key_set import KeySet

SKEW_S = 60
"""By how much the service's clock and ours may differ."""

_ALGORITHM = "RS256"
_MAXIMUM_LENGTH = 8192


class AcsTokenVerifier:
    """Verifies `Authorization` headers of one resource's calls."""

    def __init__(self, *, issuer: str, resource_id: str, keys: KeySet) -> None:
        """resource_id: the resource's immutable id, a GUID; nothing is believed without it."""
        if not resource_id:
            raise ValueError("a resource id is needed: without it any resource's calls would be believed")
        self._issuer = issuer
        self._audiences = (resource_id.lower(), resource_id.upper())  # a GUID is one in either case
        self._keys = keys

    async def verify(self, authorization: str) -> None:
        """Return if the header carries a token of the service for our resource that is good now.

        Raises UnauthorizedError `carrier_token_missing`, `carrier_token_expired` or
        `carrier_token_invalid`, and UnavailableError `signer_keys_unavailable`.
        """
        import jwt

        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise UnauthorizedError(
                "carrier_token_missing", "Calls of Communication Services carry a bearer token."
            )
        try:
            await self._check(token)
        except jwt.ExpiredSignatureError:
            raise UnauthorizedError(
                "carrier_token_expired", "The carrier's token has expired: check this machine's clock."
            ) from None
        except jwt.PyJWTError:
            raise UnauthorizedError(
                "carrier_token_invalid",
                "The token is not signed by Communication Services for our resource: check ACS_RESOURCE_ID.",
            ) from None

    async def _check(self, token: str) -> None:
        import jwt

        if len(token) > _MAXIMUM_LENGTH:
            raise jwt.InvalidTokenError("longer than any of theirs")
        header = jwt.get_unverified_header(token)
        key_id = header.get("kid")
        if header.get("alg") != _ALGORITHM or not isinstance(key_id, str):
            raise jwt.InvalidTokenError("not signed as theirs are")
        key = await self._keys.key(key_id)
        if key is None:
            raise jwt.InvalidTokenError("signed with a key that the service does not have")
        jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            audience=self._audiences,
            issuer=self._issuer,
            leeway=SKEW_S,
            options={"require": ["exp", "iss", "aud"]},
        )
