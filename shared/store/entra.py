"""Redis by Entra ID: the process's own Azure identity in place of a key.

redis-entraid fetches tokens in the caller's thread and renews them in a thread of its own; here none
of it is done on the event loop, where others talk.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, cast
from urllib.parse import urlsplit

from redis.auth.err import RequestTokenErr
from redis.auth.token import TokenInterface
from redis.credentials import CredentialProvider, StreamingCredentialProvider
from redis.exceptions import AuthenticationError, RedisError

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

_log = logging.getLogger("sidetone.store.entra")

SCOPE = "https://redis.azure.com/.default"
# Hosts of Azure's Redis services; none of them lets anybody in without a credential.
_AZURE_HOSTS = (".redis.azure.net", ".redis.cache.windows.net", ".redisenterprise.cache.azure.net")
# How often, and at which distance, a token is asked for again: an identity endpoint fails for moments.
_ATTEMPTS, _AGAIN_MS = 3, 200
_TIMEOUT_MS = 10_000

Tokens: TypeAlias = Callable[[], StreamingCredentialProvider]


def wants_identity(redis_url: str) -> bool:
    """Tell whether the address is Azure's and holds no key."""
    parts = urlsplit(redis_url)
    return not parts.password and (parts.hostname or "").endswith(_AZURE_HOSTS)


class EntraCredentials(CredentialProvider):
    """What a connection authenticates with: the identity's object id and a token.

    tokens: makes redis-entraid's provider; called once, off the event loop.
    """

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._make = tokens or _default_tokens
        self._tokens: StreamingCredentialProvider | None = None
        self._lock = threading.Lock()
        self._pool: ConnectionPool | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def renew(self, pool: ConnectionPool) -> None:
        """Authenticate the connections of `pool` anew whenever a token was renewed."""
        self._pool = pool

    async def get_credentials_async(self) -> tuple[str, str]:
        """Return the user name and the token. Raises AuthenticationError."""
        self._loop = asyncio.get_running_loop()
        try:
            return await asyncio.to_thread(self._credentials)
        except RequestTokenErr as error:
            raise AuthenticationError("this process's Azure identity gave no token for Redis") from error

    def get_credentials(self) -> tuple[str, str]:
        return self._credentials()

    def _credentials(self) -> tuple[str, str]:
        with self._lock:
            if self._tokens is None:
                self._tokens = self._make()
                self._tokens.on_next(self._renewed)
                self._tokens.on_error(self._not_renewed)
            user, token = cast("tuple[str, str]", self._tokens.get_credentials())
            return user, token

    def _renewed(self, token: TokenInterface) -> None:
        if self._pool is None or self._loop is None or self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(_show(token, self._pool), self._loop)

    def _not_renewed(self, error: Exception) -> None:
        # Connections are cut when their token expires, and the next one asks for a token again.
        _log.warning("token for Redis could not be renewed", extra={"error_type": type(error).__name__})


async def _show(token: TokenInterface, pool: ConnectionPool) -> None:
    try:
        await pool.re_auth_callback(token)
    except (RedisError, OSError) as error:
        # As above: whoever is cut off connects again, and is told then what is wrong.
        _log.warning("token for Redis could not be shown", extra={"error_type": type(error).__name__})


def _default_tokens() -> StreamingCredentialProvider:
    from redis.auth.token_manager import RetryPolicy, TokenManagerConfig
    from redis_entraid.cred_provider import create_from_default_azure_credential

    return create_from_default_azure_credential(
        (SCOPE,),
        token_manager_config=TokenManagerConfig(
            expiration_refresh_ratio=0.7,
            lower_refresh_bound_millis=0,
            token_request_execution_timeout_in_ms=_TIMEOUT_MS,
            retry_policy=RetryPolicy(max_attempts=_ATTEMPTS, delay_in_ms=_AGAIN_MS),
        ),
    )
