"""Tokens that PyJWT verifies with the published keys, and forgeries that it refuses."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from emulators.communication.tokens import ISSUER, Forgery, TokenSigner

RESOURCE = "resource-guid"


@pytest.fixture(scope="module")
def signer() -> TokenSigner:
    return TokenSigner(issuer=ISSUER, audience=RESOURCE)


def claims(signer: TokenSigner, authorization: str | None) -> dict[str, Any]:
    """Check a token as a receiver does."""
    assert authorization is not None
    scheme, _, token = authorization.partition(" ")
    assert scheme == "Bearer"
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(signer.jwks()).keys}  # type: ignore[arg-type]
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["RS256"], issuer=ISSUER, audience=RESOURCE)


def test_tokens_verify_with_the_published_keys_and_differ(signer: TokenSigner) -> None:
    one, other = signer.authorization(), signer.authorization()
    assert one != other
    found = claims(signer, one)
    assert found["exp"] - found["nbf"] == 300


@pytest.mark.parametrize(
    ("forgery", "error"),
    [
        ("wrong_key", jwt.InvalidSignatureError),
        ("expired", jwt.ExpiredSignatureError),
        ("wrong_audience", jwt.InvalidAudienceError),
        ("wrong_issuer", jwt.InvalidIssuerError),
        ("garbage", jwt.DecodeError),
    ],
)
def test_forgeries_fail_for_their_own_reason(
    signer: TokenSigner, forgery: Forgery, error: type[Exception]
) -> None:
    with pytest.raises(error):
        claims(signer, signer.authorization(forgery))


def test_a_missing_token_is_none(signer: TokenSigner) -> None:
    assert signer.authorization("missing") is None


def test_rotation_keeps_old_keys_until_they_are_forgotten() -> None:
    signer = TokenSigner(issuer=ISSUER, audience=RESOURCE)
    old = signer.authorization()
    signer.rotate()
    assert claims(signer, old)
    assert claims(signer, signer.authorization())
    signer.rotate(forget=True)
    with pytest.raises(KeyError):
        claims(signer, old)
    assert claims(signer, signer.authorization())


def test_the_openid_configuration_leads_to_the_keys(signer: TokenSigner) -> None:
    document = signer.configuration("http://127.0.0.1:9010")
    assert document["issuer"] == ISSUER
    assert document["jwks_uri"] == "http://127.0.0.1:9010/calling/keys"
