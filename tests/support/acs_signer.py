"""Signs as Communication Services does, serves its keys, and forges what must not be believed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from emulators.communication.tokens import ISSUER, KEYS_PATH, Forgery, TokenSigner

RESOURCE_ID = "6f1c3d52-0a6e-4f43-9f0b-3a2f6d5c8e71"


class AcsSigner:
    """A signer whose keys are at `keys_url`; `fetched` counts how often they were asked for."""

    def __init__(self) -> None:
        self.signer = TokenSigner(issuer=ISSUER, audience=RESOURCE_ID)
        self.keys_url = ""
        self.fetched = 0
        self.answer: web.Response | None = None  # instead of the keys

    def header(self, forgery: Forgery | None = None) -> str:
        return self.signer.authorization(forgery) or ""

    def with_claims(self, *, headers: dict[str, object] | None = None, **claims: object) -> str:
        """Return a header whose token has these claims instead of the right ones (None: without)."""
        kid, key = self.signer._keys[-1]  # the test is the signer
        now = int(time.time())
        whole = {"iss": ISSUER, "aud": RESOURCE_ID, "iat": now, "nbf": now, "exp": now + 300, **claims}
        kept = {name: value for name, value in whole.items() if value is not None}
        return "Bearer " + jwt.encode(kept, key, algorithm="RS256", headers={"kid": kid, **(headers or {})})

    async def give(self, request: web.Request) -> web.Response:
        self.fetched += 1
        return self.answer or web.json_response(self.signer.jwks())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get(KEYS_PATH, self.give)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.keys_url = f"http://127.0.0.1:{runner.addresses[0][1]}{KEYS_PATH}"
        try:
            yield
        finally:
            await runner.cleanup()


def unsigned(issuer: str = ISSUER) -> str:
    """Return a header with a token of the algorithm none."""
    claims = {"iss": issuer, "aud": RESOURCE_ID, "exp": int(time.time()) + 300}
    return "Bearer " + jwt.encode(claims, None, algorithm="none", headers={"kid": "k"})


def signed_with_a_public_key() -> str:
    """Return a header with a token whose HMAC key is what everybody may know."""
    claims = {"iss": ISSUER, "aud": RESOURCE_ID, "exp": int(time.time()) + 300}
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return "Bearer " + jwt.encode(
        claims, str(key.public_numbers().n)[:64], algorithm="HS256", headers={"kid": "k"}
    )
