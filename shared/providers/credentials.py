"""How a request to the service is authenticated: by a key, or by an Entra token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib import import_module
from typing import TYPE_CHECKING

from shared.errors import SidetoneError

if TYPE_CHECKING:
    from azure.identity.aio import DefaultAzureCredential


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A resource key. `header` is where it travels: `api-key` on Azure, a bearer token elsewhere."""

    value: str = field(repr=False)
    azure: bool

    async def headers(self) -> dict[str, str]:
        if self.azure:
            return {"api-key": self.value}
        return {"Authorization": f"Bearer {self.value}"}

    async def bearer(self) -> str:
        return self.value

    async def close(self) -> None:
        """Nothing is held."""


class EntraToken:
    """Tokens of the process's own Azure identity for `scope`, fetched and cached by azure-identity."""

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._credential: DefaultAzureCredential | None = None
        self._token: Callable[[], Awaitable[str]] | None = None

    async def bearer(self) -> str:
        """Return a token that is valid now; raises SidetoneError `provider_unauthorized`, retryable."""
        if self._token is None:
            # The import takes most of a second: off the event loop, where others talk.
            await asyncio.to_thread(import_module, "azure.identity.aio")
        from azure.core.exceptions import AzureError
        from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

        if self._token is None:
            self._credential = DefaultAzureCredential()
            self._token = get_bearer_token_provider(self._credential, self._scope)
        token = self._token
        try:
            return await token()
        except AzureError as error:
            raise SidetoneError(
                "provider_unauthorized",
                f"This process's Azure identity gave no token ({type(error).__name__}): check that it has a "
                "managed identity or a login, or set AZURE_OPENAI_API_KEY.",
                status=HTTPStatus.BAD_GATEWAY,
                retryable=True,  # the identity endpoint fails for moments, and is slow to know a new identity
            ) from error

    async def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {await self.bearer()}"}

    async def close(self) -> None:
        if self._credential is not None:
            await self._credential.close()
            self._credential = None
            self._token = None


Credential = ApiKey | EntraToken
