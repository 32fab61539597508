"""How a request to the service is authenticated: by a key, or by an Entra token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
        if self._token is None:
            from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

            self._credential = DefaultAzureCredential()
            self._token = get_bearer_token_provider(self._credential, self._scope)
        return await self._token()

    async def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {await self.bearer()}"}

    async def close(self) -> None:
        if self._credential is not None:
            await self._credential.close()
            self._credential = None
            self._token = None


Credential = ApiKey | EntraToken
