"""Our own tokens: good for one thing, for a while, and only with one of our keys."""

from __future__ import annotations

import base64
import secrets
import time

import jwt
import pytest

from shared.errors import ForbiddenError, UnauthorizedError
from shared.ids import new_session_id
from shared.security.tokens import TokenRing


def key(name: str) -> str:
    return f"{name}:{base64.b64encode(secrets.token_bytes(48)).decode()}"


SECRET = bytes(range(48))  # fixed, since it is part of the names of tests
OTHER = bytes(range(48, 96))
KEYS = "k1:" + base64.b64encode(SECRET).decode()
SESSION = new_session_id()


@pytest.fixture
def ring() -> TokenRing:
    return TokenRing(KEYS)


def code_of(ring: TokenRing, token: str, session_id: str = SESSION) -> str:
    with pytest.raises((UnauthorizedError, ForbiddenError)) as caught:
        ring.verify_client_token(token, session_id)
    assert len(token) < 8 or token not in str(caught.value)
    return caught.value.code


def test_a_client_token_opens_its_own_session_alone(ring: TokenRing) -> None:
    token = ring.issue_client_token(SESSION, 60)
    ring.verify_client_token(token, SESSION)
    with pytest.raises(ForbiddenError) as caught:
        ring.verify_client_token(token, new_session_id())
    assert caught.value.code == "client_token_other_session"


def test_a_service_token_tells_the_worker(ring: TokenRing) -> None:
    assert ring.verify_service_token(ring.issue_service_token("worker-7")) == "worker-7"


def test_the_kinds_do_not_stand_in_for_each_other(ring: TokenRing) -> None:
    assert code_of(ring, ring.issue_service_token(SESSION)) == "client_token_invalid"
    with pytest.raises(UnauthorizedError) as caught:
        ring.verify_service_token(ring.issue_client_token(SESSION, 60))
    assert caught.value.code == "service_token_invalid"


def test_an_expired_token_says_so(ring: TokenRing) -> None:
    assert code_of(ring, ring.issue_client_token(SESSION, -60)) == "client_token_expired"
    with pytest.raises(UnauthorizedError) as caught:
        ring.verify_service_token(ring.issue_service_token("w", -60))
    assert caught.value.code == "service_token_expired"


def test_clocks_may_differ_by_a_moment(ring: TokenRing) -> None:
    ring.verify_client_token(ring.issue_client_token(SESSION, -2), SESSION)


def test_the_signature_covers_everything(ring: TokenRing) -> None:
    token = ring.issue_client_token(SESSION, 60)
    head, body, signature = token.split(".")
    other = ring.issue_client_token(new_session_id(), 60).split(".")[1]
    flipped = signature[:5] + ("A" if signature[5] != "A" else "B") + signature[6:]
    for forged in (
        f"{head}.{other}.{signature}",
        f"{head}.{body}.{flipped}",
        f"{head}.{body}.",
        f"{head}.{body}",
    ):
        assert code_of(ring, forged) == "client_token_invalid"


@pytest.mark.parametrize("junk", ["", ".", "a.b.c", "Bearer x", "🙂" * 100, "x" * 100_000, "\x00"])
def test_junk_is_refused_without_a_crash(ring: TokenRing, junk: str) -> None:
    assert code_of(ring, junk) == "client_token_invalid"


@pytest.mark.parametrize(
    ("algorithm", "signed_with", "headers", "changed"),
    [
        ("none", None, {"kid": "k1"}, {}),
        ("HS384", SECRET, {"kid": "k1"}, {}),
        ("HS256", SECRET, {}, {}),
        ("HS256", SECRET, {"kid": "k2"}, {}),
        ("HS256", OTHER, {"kid": "k1"}, {}),
        ("HS256", SECRET, {"kid": "k1"}, {"iss": "somebody"}),
        ("HS256", SECRET, {"kid": "k1"}, {"exp": None}),
        ("HS256", SECRET, {"kid": "k1"}, {"sub": None}),
        ("HS256", SECRET, {"kid": "k1"}, {"aud": None}),
        ("HS256", SECRET, {"kid": "k1"}, {"iat": 4_000_000_000, "exp": 4_000_000_060}),
    ],
)
def test_what_we_would_not_issue_is_refused(
    ring: TokenRing,
    algorithm: str,
    signed_with: bytes | None,
    headers: dict[str, str],
    changed: dict[str, object],
) -> None:
    now = int(time.time())
    claims = {
        "iss": "sidetone",
        "aud": "sidetone:client",
        "sub": SESSION,
        "iat": now,
        "exp": now + 60,
        **changed,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    token = jwt.encode(claims, signed_with or "", algorithm=algorithm, headers=headers)
    assert code_of(ring, token) == "client_token_invalid"


def test_keys_rotate_without_a_pause() -> None:
    old, new = key("2026-10"), key("2026-11")
    before = TokenRing(old)
    during = TokenRing(f"{new}, {old}")
    after = TokenRing(new)
    issued_before, issued_during = (
        before.issue_client_token(SESSION, 60),
        during.issue_client_token(SESSION, 60),
    )
    during.verify_client_token(issued_before, SESSION)
    after.verify_client_token(issued_during, SESSION)
    assert code_of(after, issued_before) == "client_token_invalid"


def test_keys_may_be_urlsafe_and_unpadded() -> None:
    secret = b"\xff\xfe\xfb" + secrets.token_bytes(34)
    text = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    standard = base64.b64encode(secret).decode()
    token = TokenRing(f"k:{text}").issue_client_token(SESSION, 60)
    TokenRing(f"k:{standard}").verify_client_token(token, SESSION)


def test_the_ring_does_not_show_its_keys(ring: TokenRing) -> None:
    assert repr(ring) == "TokenRing(k1)"
    with pytest.raises(ValueError, match="at least 32 are needed") as caught:
        TokenRing("k1:" + base64.b64encode(b"short-secret").decode())
    assert "short" not in str(caught.value)


def test_tokens_in_a_carriers_addresses_open_one_session_and_one_address(ring: TokenRing) -> None:
    media, callback = ring.issue_media_token(SESSION, 60), ring.issue_callback_token(SESSION, 60)
    ring.verify_media_token(media, SESSION)
    ring.verify_callback_token(callback, SESSION)
    tried = {
        "media_token_other_session": lambda: ring.verify_media_token(media, new_session_id()),
        "callback_token_other_session": lambda: ring.verify_callback_token(callback, new_session_id()),
        "media_token_invalid": lambda: ring.verify_media_token(callback, SESSION),
        "callback_token_invalid": lambda: ring.verify_callback_token(media, SESSION),
        "client_token_invalid": lambda: ring.verify_client_token(media, SESSION),
        "media_token_expired": lambda: ring.verify_media_token(ring.issue_media_token(SESSION, -60), SESSION),
    }
    for code, attempt in tried.items():
        with pytest.raises((UnauthorizedError, ForbiddenError)) as caught:
            attempt()
        assert caught.value.code == code
