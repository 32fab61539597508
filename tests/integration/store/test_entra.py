"""Redis by identity: redis-entraid with an identity of the test's, against a Redis with users of its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import jwt
import pytest
import redis.asyncio
from redis.auth.err import RequestTokenErr
from redis.auth.idp import IdentityProviderInterface
from redis.auth.token import JWToken
from redis.auth.token_manager import RetryPolicy, TokenManagerConfig
from redis_entraid.cred_provider import EntraIdCredentialsProvider

from emulators.redis_server import start_redis
from shared.errors import UnavailableError
from shared.store.connection import answered, connect
from shared.store.entra import EntraCredentials
from tests.support.eventually import eventually
from tests.support.ports import free_port

OID = "6f1a2b3c-0000-4000-8000-000000000001"


@dataclass
class Identity(IdentityProviderInterface):
    """Gives a new token each time, as long as it is meant to."""

    lives_s: float = 3600
    refuses: bool = False
    given: list[str] = field(default_factory=list)

    def request_token(self, force_refresh: bool = False) -> JWToken:
        if self.refuses:
            raise RequestTokenErr("no identity here")
        claims = {"oid": OID, "exp": time.time() + self.lives_s, "number": len(self.given)}
        self.given.append(jwt.encode(claims, "0123456789abcdef0123456789abcdef", algorithm="HS256"))
        return JWToken(self.given[-1])


@dataclass
class Guarded:
    """A Redis that lets in nobody but the identity, and how often it was told a token by AUTH."""

    url: str
    admin: redis.asyncio.Redis

    async def accept_any_token(self) -> None:
        await self.admin.execute_command("ACL", "SETUSER", OID, "on", "nopass", "~*", "&*", "+@all")

    async def tokens_told(self) -> int:
        told = await self.admin.info("commandstats")
        return int(told.get("cmdstat_auth", {}).get("calls", 0))


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    server = start_redis(free_port(), tmp_path)
    open_door = redis.asyncio.from_url(server.url, decode_responses=True)
    await open_door.execute_command("ACL", "SETUSER", "admin", "on", ">admin", "~*", "&*", "+@all")
    await open_door.execute_command("ACL", "SETUSER", "default", "off")
    await open_door.aclose()
    admin = redis.asyncio.from_url(server.url, username="admin", password="admin", decode_responses=True)
    yield Guarded(url=server.url, admin=admin)
    await admin.aclose()
    server.stop()


def credentials(identity: Identity) -> EntraCredentials:
    config = TokenManagerConfig(0.5, 0, 1000, RetryPolicy(2, 1))
    return EntraCredentials(lambda: EntraIdCredentialsProvider(identity, config))


async def test_a_connection_shows_the_identitys_token(guarded: Guarded) -> None:
    await guarded.accept_any_token()
    identity = Identity()
    client = connect(SimpleNamespace(redis_url=guarded.url), credentials(identity))
    try:
        assert await answered(client.execute_command("ACL", "WHOAMI")) == OID
        assert identity.given
    finally:
        await client.aclose()


async def test_connections_show_the_new_token_before_the_old_one_expires(guarded: Guarded) -> None:
    await guarded.accept_any_token()
    client = connect(SimpleNamespace(redis_url=guarded.url), credentials(Identity(lives_s=1.0)))
    try:
        await answered(client.ping())
        before = await guarded.tokens_told()

        async def told_again() -> bool:
            return await guarded.tokens_told() > before

        # Nobody sends a command meanwhile: the idle connection is told.
        await eventually(told_again, what="the connection is told a renewed token")
        assert await answered(client.execute_command("ACL", "WHOAMI")) == OID
    finally:
        await client.aclose()


async def test_an_identity_that_gives_no_token_is_told_with_the_remedy(guarded: Guarded) -> None:
    client = connect(SimpleNamespace(redis_url=guarded.url), credentials(Identity(refuses=True)))
    try:
        with pytest.raises(UnavailableError, match="AZURE_CLIENT_ID"):
            await answered(client.ping())
    finally:
        await client.aclose()


async def test_an_identity_that_is_no_user_is_told_with_the_remedy(guarded: Guarded) -> None:
    client = connect(SimpleNamespace(redis_url=guarded.url), credentials(Identity()))
    try:
        with pytest.raises(UnavailableError, match="a user of the database"):
            await answered(client.ping())
    finally:
        await client.aclose()
