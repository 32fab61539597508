"""The tokens that the service signs callbacks and media sockets with, and the documents to check them by.

Source: Microsoft's "Secure webhook endpoints and websocket connections" for Call Automation: RS256, keys and
OpenID configuration below `/calling`, the audience is the resource, five minutes, one token an event.
"""

from __future__ import annotations

import base64
import time
from typing import Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from emulators.communication.wire import Json

ISSUER = "https://acscallautomation.communication.azure.com"
LIFETIME_S = 300
KEYS_PATH = "/calling/keys"
CONFIGURATION_PATH = "/calling/.well-known/acsopenidconfiguration"
_KEY_BITS = 2048

Forgery = Literal["wrong_key", "expired", "wrong_audience", "wrong_issuer", "missing", "garbage"]


class TokenSigner:
    """Signs tokens with an own key; `rotate` makes the next one."""

    def __init__(self, *, issuer: str, audience: str) -> None:
        self.issuer = issuer
        self.audience = audience
        self._keys: list[tuple[str, rsa.RSAPrivateKey]] = []
        self._stranger: rsa.RSAPrivateKey | None = None
        self._signed = 0
        self.rotate()

    def rotate(self, *, forget: bool = False) -> str:
        """Sign with a new key from now on and return its id; `forget` takes the old ones out of the JWKS."""
        if forget:
            self._keys.clear()
        key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
        key_id = f"emulator-{key.public_key().public_numbers().n % 0xFFFFFFFF:08x}"
        self._keys.append((key_id, key))
        return key_id

    def authorization(self, forgery: Forgery | None = None) -> str | None:
        """Return a new `Authorization` header; with a forgery, one that must not be believed (or none)."""
        if forgery == "missing":
            return None
        if forgery == "garbage":
            return "Bearer not.a.token"
        now = int(time.time())
        key_id, key = self._keys[-1]
        if forgery == "wrong_key":
            key = self._stranger = self._stranger or rsa.generate_private_key(
                public_exponent=65537, key_size=_KEY_BITS
            )
        issued = now - 2 * LIFETIME_S if forgery == "expired" else now
        self._signed += 1
        claims = {
            "iss": "https://issuer.example" if forgery == "wrong_issuer" else self.issuer,
            "aud": "11111111-2222-3333-4444-555555555555" if forgery == "wrong_audience" else self.audience,
            "iat": issued,
            "nbf": issued,
            "exp": issued + LIFETIME_S,
            # Two tokens of one second must differ: a receiver may remember those it has seen.
            "jti": f"{key_id}-{self._signed}",
        }
        return "Bearer " + jwt.encode(claims, key, algorithm="RS256", headers={"kid": key_id})

    def jwks(self) -> Json:
        """Return the public keys."""
        return {"keys": [_public(key_id, key) for key_id, key in self._keys]}

    def configuration(self, base_url: str) -> Json:
        """Return the OpenID configuration, with the keys to be fetched from `base_url`."""
        return {
            "issuer": self.issuer,
            "jwks_uri": base_url + KEYS_PATH,
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
        }


def _public(key_id: str, key: rsa.RSAPrivateKey) -> Json:
    numbers = key.public_key().public_numbers()
    return {
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": key_id,
        "n": _base64url(numbers.n),
        "e": _base64url(numbers.e),
    }


def _base64url(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
