"""Credentials for MCP servers, from where they are kept: none of them is ever in a file of the agents."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from http import HTTPStatus
from importlib import import_module
from typing import TYPE_CHECKING, assert_never

import httpx2
from dotenv import dotenv_values
from mcp.client.auth import TokenStorage
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider

from shared.errors import SidetoneError
from shared.mcp.server import ClientCredentials, Credential, ManagedIdentity, NoCredential, SecretHeader
from shared.providers.credentials import EntraToken

if TYPE_CHECKING:
    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

# A secret that was replaced in the vault is used after this long, or at once when the old one is refused.
KEPT_S = 600.0

ReadSecret = Callable[[str], Awaitable[str]]


def process_environment() -> dict[str, str]:
    """Return what addresses and secrets may name: `.env`, and the environment before it."""
    return {name: value for name, value in {**dotenv_values(".env"), **os.environ}.items() if value}


class SecretStore:
    """Secrets by name: from the environment (billing-mcp-token is BILLING_MCP_TOKEN), else from Key Vault."""

    def __init__(self, environment: Mapping[str, str], key_vault_url: str) -> None:
        self._environment = environment
        self._key_vault_url = key_vault_url.rstrip("/")
        self._kept: dict[str, tuple[str, float]] = {}
        self._reading = asyncio.Lock()

    async def read(self, name: str) -> str:
        """Return the secret. Raises SidetoneError `secret_missing` or `secret_unavailable`, naming it."""
        given = self._environment.get(name.replace("-", "_").upper(), "")
        if given:
            return given
        async with self._reading:
            kept, until = self._kept.get(name, ("", 0.0))
            if kept and time.monotonic() < until:
                return kept
            found = await self._from_vault(name)
            self._kept[name] = (found, time.monotonic() + KEPT_S)
            return found

    def forget(self, name: str) -> None:
        """Read the secret again the next time: the one that we have was refused."""
        self._kept.pop(name, None)

    async def _from_vault(self, name: str) -> str:
        variable = name.replace("-", "_").upper()
        if not self._key_vault_url:
            raise SidetoneError(
                "secret_missing",
                f"The secret {name} is nowhere: put it into the vault of KEY_VAULT_URL, or set {variable}.",
            )
        await asyncio.to_thread(import_module, "azure.identity.aio")
        from azure.core.exceptions import AzureError, ResourceNotFoundError
        from azure.identity.aio import DefaultAzureCredential
        from azure.keyvault.secrets.aio import SecretClient

        try:
            async with (
                DefaultAzureCredential() as credential,
                SecretClient(self._key_vault_url, credential) as vault,
            ):
                value = (await vault.get_secret(name)).value
        except ResourceNotFoundError as error:
            raise SidetoneError(
                "secret_missing", f"There is no secret {name} in the vault of KEY_VAULT_URL: add it."
            ) from error
        except AzureError as error:
            raise SidetoneError(
                "secret_unavailable",
                f"The secret {name} could not be read ({type(error).__name__}): give this process's identity "
                "the role Key Vault Secrets User.",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                retryable=True,
            ) from error
        return value or ""


def authentication(credential: Credential, server_url: str, secrets: SecretStore) -> httpx2.Auth | None:
    """Return what signs requests to the server; nothing is read before the first request."""
    match credential:
        case NoCredential():
            return None
        case SecretHeader():
            return _SecretAuth(credential, secrets)
        case ManagedIdentity():
            return _IdentityAuth(EntraToken(credential.scope))
        case ClientCredentials():
            return _ClientCredentialsAuth(credential, server_url, secrets)
        case _:
            assert_never(credential)


class _SecretAuth(httpx2.Auth):
    def __init__(self, credential: SecretHeader, secrets: SecretStore) -> None:
        self._credential = credential
        self._secrets = secrets

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        wanted = self._credential
        request.headers[wanted.header] = wanted.prefix + await self._secrets.read(wanted.secret)
        response = yield request
        if response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            self._secrets.forget(wanted.secret)


class _IdentityAuth(httpx2.Auth):
    def __init__(self, token: EntraToken) -> None:
        self._token = token

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        request.headers["Authorization"] = f"Bearer {await self._token.bearer()}"
        yield request


class _ClientCredentialsAuth(httpx2.Auth):
    """The SDK's flow (RFC 9728 and 8414 discovery, RFC 6749 4.4), run only where a server asks for it.

    The SDK holds its lock until a request is answered: one call that hangs would hold up all others. Here
    requests go out side by side, and only whoever needs a token waits for it.
    """

    def __init__(self, credential: ClientCredentials, server_url: str, secrets: SecretStore) -> None:
        self._credential = credential
        self._server_url = server_url
        self._secrets = secrets
        self._provider: ClientCredentialsOAuthProvider | None = None
        self._renewing = asyncio.Lock()

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        used = self._token()
        if used:
            request.headers["Authorization"] = f"Bearer {used}"
        response = yield request
        if response.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return
        async with self._renewing:
            if self._token() == used:
                provider = await self._new_provider()
                flow = provider.async_auth_flow(request)
                try:
                    outgoing = await anext(flow)  # the request, which has its answer already
                    outgoing = await flow.asend(response)
                    while outgoing is not request:
                        outgoing = await flow.asend((yield outgoing))
                except StopAsyncIteration:  # a refusal that no token changes
                    return
                finally:
                    await flow.aclose()
                self._provider = provider
        request.headers["Authorization"] = f"Bearer {self._token()}"
        yield request

    def _token(self) -> str:
        context = self._provider.context if self._provider is not None else None
        if context is None or context.current_tokens is None or not context.is_token_valid():
            return ""
        return context.current_tokens.access_token

    async def _new_provider(self) -> ClientCredentialsOAuthProvider:
        wanted = self._credential
        self._secrets.forget(wanted.secret)
        return ClientCredentialsOAuthProvider(
            server_url=self._server_url,
            storage=_InMemory(),
            client_id=wanted.client_id,
            client_secret=await self._secrets.read(wanted.secret),
            scope=wanted.scope or None,
            issuer=wanted.issuer,
        )


class _InMemory(TokenStorage):
    """Tokens live as long as the connection."""

    def __init__(self) -> None:
        self._tokens: OAuthToken | None = None
        self._client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._client = client_info
