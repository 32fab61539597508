"""Callbacks and media sockets are believed by their signature alone, whoever's keys are asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from shared.errors import SidetoneError
from shared.security.acs_tokens import AcsTokenVerifier
from shared.security.key_set import KEPT_S, MAX_BYTES, STALE_S, KeySet
from tests.support.acs_signer import ISSUER, RESOURCE_ID, AcsSigner, signed_with_a_public_key, unsigned


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def signer() -> AsyncIterator[AcsSigner]:
    signer = AcsSigner()
    async with signer.serving():
        yield signer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(signer: AcsSigner, clock: Clock) -> AcsTokenVerifier:
    keys = KeySet(signer.keys_url, clock=clock)
    return AcsTokenVerifier(issuer=ISSUER, resource_id=RESOURCE_ID, keys=keys)


async def refused(verifier: AcsTokenVerifier, authorization: str) -> str:
    with pytest.raises(SidetoneError) as caught:
        await verifier.verify(authorization)
    assert not authorization or authorization not in str(caught.value)
    return caught.value.code


async def test_a_genuine_token_is_believed_and_keys_are_fetched_once(
    verifier: AcsTokenVerifier, signer: AcsSigner
) -> None:
    await asyncio.gather(*(verifier.verify(signer.header()) for _ in range(20)))
    await verifier.verify(signer.header().replace("Bearer", "bearer"))
    await verifier.verify(signer.with_claims(aud=RESOURCE_ID.upper()))
    assert signer.fetched == 1


@pytest.mark.parametrize(
    ("forgery", "code"),
    [
        ("wrong_key", "carrier_token_invalid"),
        ("expired", "carrier_token_expired"),
        ("wrong_audience", "carrier_token_invalid"),
        ("wrong_issuer", "carrier_token_invalid"),
        ("missing", "carrier_token_missing"),
        ("garbage", "carrier_token_invalid"),
    ],
)
async def test_forgeries_are_refused(
    verifier: AcsTokenVerifier, signer: AcsSigner, forgery: str, code: str
) -> None:
    assert await refused(verifier, signer.header(forgery)) == code  # type: ignore[arg-type]  # parametrised


async def test_other_ways_to_forge(verifier: AcsTokenVerifier, signer: AcsSigner) -> None:
    now = int(time.time())
    for authorization in (
        unsigned(),
        signed_with_a_public_key(),
        signer.with_claims(exp=None),
        signer.with_claims(aud=None),
        signer.with_claims(iss=None),
        signer.with_claims(nbf=now + 600),
        signer.with_claims(headers={"kid": "another"}),
        signer.with_claims(padding="x" * 9000),
        "Bearer " + "x." * 3000,
    ):
        assert await refused(verifier, authorization) == "carrier_token_invalid"
    assert await refused(verifier, "Basic dXNlcjpwYXNz") == "carrier_token_missing"


async def test_clocks_may_differ_by_a_minute(verifier: AcsTokenVerifier, signer: AcsSigner) -> None:
    now = int(time.time())
    await verifier.verify(signer.with_claims(exp=now - 30))
    await verifier.verify(signer.with_claims(nbf=now + 30, iat=now + 30))
    assert await refused(verifier, signer.with_claims(exp=now - 120)) == "carrier_token_expired"


async def test_a_rotated_key_is_found_and_a_flood_of_unknown_ones_costs_one_fetch(
    verifier: AcsTokenVerifier, signer: AcsSigner, clock: Clock
) -> None:
    await verifier.verify(signer.header())
    signer.signer.rotate(forget=True)
    clock.now += 31
    await verifier.verify(signer.header())
    assert signer.fetched == 2
    for number in range(50):
        forged = signer.with_claims(headers={"kid": f"unknown-{number}"})
        assert await refused(verifier, forged) == "carrier_token_invalid"
    assert signer.fetched == 2
    clock.now += 31
    await refused(verifier, signer.with_claims(headers={"kid": "unknown"}))
    assert signer.fetched == 3


async def test_a_withdrawn_key_is_forgotten_after_an_hour(
    verifier: AcsTokenVerifier, signer: AcsSigner, clock: Clock
) -> None:
    old = signer.header()
    await verifier.verify(old)
    signer.signer.rotate(forget=True)
    await verifier.verify(old)
    clock.now += KEPT_S + 1
    assert await refused(verifier, old) == "carrier_token_invalid"


async def test_old_keys_hold_for_a_day_when_their_signer_is_away(
    verifier: AcsTokenVerifier, signer: AcsSigner, clock: Clock
) -> None:
    await verifier.verify(signer.header())
    signer.answer = web.Response(status=503)
    clock.now += KEPT_S + 1
    await verifier.verify(signer.header())
    await verifier.verify(signer.header())
    assert signer.fetched == 2, "not asked again within the floor"
    clock.now += STALE_S
    assert await refused(verifier, signer.header()) == "signer_keys_unavailable"


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}},
        {"text": "<html>"},
        {"text": "[]"},
        {"text": '{"keys": []}'},
        {"text": '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k"}]}'},
        {"text": '{"keys": [' + "0," * MAX_BYTES + "0]}"},
    ],
)
async def test_what_is_no_key_set_is_no_key_set(
    verifier: AcsTokenVerifier, signer: AcsSigner, answer: dict[str, object]
) -> None:
    signer.answer = web.Response(**answer)  # type: ignore[arg-type]  # parametrised
    assert await refused(verifier, signer.header()) == "signer_keys_unavailable"


def test_without_a_resource_nothing_is_believed() -> None:
    with pytest.raises(ValueError, match="resource id"):
        AcsTokenVerifier(issuer=ISSUER, resource_id="", keys=KeySet("http://127.0.0.1:9/"))
