"""The GA Realtime API, on Azure and at OpenAI: REST through the openai SDK, the sideband through aiohttp.

What a worker asks for (hang up, the check at its start) goes through aiohttp too: the SDK costs a process a
second of CPU and some 30 MB, which a worker that replaces another has no time for.

The two differ in base URL and credential only. A browser's call is negotiated with raw SDP and
an ephemeral secret on both, since Azure does not document the multipart form.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlencode

from shared.errors import NotFoundError, SidetoneError, UnavailableError
from shared.providers.credentials import Credential
from shared.providers.failures import (
    error_code,
    failure_of,
    not_the_service,
    provider_failures,
    retry_after,
    unreachable,
)
from shared.providers.protocol import ClientSecret, CreatedCall
from shared.providers.sideband import MediaSocket, SidebandSocket, open_session, open_sideband

if TYPE_CHECKING:
    import aiohttp
    from openai import AsyncOpenAI
    from openai.types.realtime.client_secret_create_params import Session

# Set-up requests sit in a caller's path: fail in time for the caller to hear about it.
REST_TIMEOUT_S = 10.0
REST_RETRIES = 1
_REST_PAUSE_S = 0.5
# Somebody hears it ring meanwhile, and the sender of the webhook waits for our answer for about 10 s.
ACCEPT_TIMEOUT_S = 4.0


class RealtimeApi:
    """A RealtimeProvider for services that speak the GA dialect at `base_url` (…/v1)."""

    def __init__(
        self, *, name: str, base_url: str, credential: Credential, model: str, ping_s: float = 20.0
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._credential = credential
        self._model = model
        self._ping_s = ping_s
        self._rest: AsyncOpenAI | None = None
        self._http: aiohttp.ClientSession | None = None

    @property
    def calls_url(self) -> str:
        # The filter keeps session, response and error events off the data channel of an honest client.
        return f"{self._base_url}/realtime/calls?webrtcfilter=on"

    async def create_client_secret(self, session: Mapping[str, object], ttl_s: int) -> ClientSecret:
        client = await self._client()
        with provider_failures():
            created = await client.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": ttl_s},
                session=cast("Session", dict(session)),
            )
        # The SDK checks no types: a proxy's page comes as text, an empty object without its fields.
        value, expires_at = getattr(created, "value", None), getattr(created, "expires_at", None)
        if not isinstance(value, str) or not isinstance(expires_at, int):
            raise not_the_service()
        return ClientSecret(value=value, expires_at=expires_at)

    async def create_call(self, sdp_offer: str, session: Mapping[str, object]) -> CreatedCall:
        secret = await self.create_client_secret(session, ttl_s=60)
        client = (await self._client()).copy(api_key=secret.value, set_default_headers={})
        with provider_failures():
            response = await client.realtime.calls.with_raw_response.create(
                sdp=sdp_offer, extra_query={"webrtcfilter": "on"}
            )
        call_id = response.headers.get("location", "").rstrip("/").rpartition("/")[2]
        if not call_id:
            raise SidetoneError(
                "provider_rejected", "The realtime service answered an SDP offer without naming the call."
            )
        return CreatedCall(call_id=call_id, sdp_answer=response.http_response.text)

    async def accept_call(self, call_id: str, session: Mapping[str, object]) -> None:
        # Without the SDK's retry: after a lost answer it would be told that the call is taken, or gone.
        client = (await self._client()).with_options(max_retries=0, timeout=ACCEPT_TIMEOUT_S)
        with provider_failures():
            await client.realtime.calls.accept(call_id, type="realtime", extra_body=dict(session))

    async def reject_call(self, call_id: str, status_code: int) -> bool:
        client = await self._client()
        try:
            with provider_failures():
                await client.realtime.calls.reject(call_id, status_code=status_code)
        except NotFoundError:
            return False
        return True

    async def refer_call(self, call_id: str, target_uri: str) -> None:
        client = await self._client()
        with provider_failures():
            await client.realtime.calls.refer(call_id, target_uri=target_uri)

    async def hang_up(self, call_id: str) -> bool:
        try:
            await self._post(f"/realtime/calls/{quote(call_id, safe='')}/hangup")
        except NotFoundError:
            return False
        return True

    async def check(self) -> None:
        """Mint the shortest secret there is: one cheap request proves endpoint, credential and model."""
        minted = await self._post(
            "/realtime/client_secrets",
            {
                "expires_after": {"anchor": "created_at", "seconds": 10},
                "session": {"type": "realtime", "model": self._model},
            },
        )
        if b'"value"' not in minted:
            raise not_the_service()

    async def _post(self, path: str, body: Mapping[str, object] | None = None) -> bytes:
        """Return what the service answers; try again once, as the SDK does, when that may help."""
        try:
            return await self._post_once(path, body)
        except UnavailableError:
            await asyncio.sleep(_REST_PAUSE_S)
            return await self._post_once(path, body)

    async def _post_once(self, path: str, body: Mapping[str, object] | None) -> bytes:
        import aiohttp

        try:
            async with self._sockets().post(
                self._base_url + path,
                json=body,
                headers=await self._credential.headers(),
                timeout=aiohttp.ClientTimeout(total=REST_TIMEOUT_S),
                allow_redirects=False,
            ) as response:
                answer = await response.read()
                if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise failure_of(response.status, error_code(answer), retry_after(response.headers))
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unreachable(error) from error

    async def connect_sideband(self, call_id: str) -> SidebandSocket:
        url, headers = self._realtime_url(call_id=call_id), await self._credential.headers()
        return await open_sideband(self._sockets(), url, headers=headers, ping_s=self._ping_s)

    async def connect_session(self, model: str = "") -> SidebandSocket:
        url, headers = self._realtime_url(model=model or self._model), await self._credential.headers()
        return await open_session(self._sockets(), url, headers=headers, ping_s=self._ping_s)

    def _realtime_url(self, **query: str) -> str:
        return f"{self._base_url.replace('http', 'ws', 1)}/realtime?{urlencode(query)}"

    def _sockets(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._http is None:
            # aiohttp's default connector holds 100 connections and lets the next one wait without a word.
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                ws_response_class=MediaSocket,  # pyright: ignore[reportArgumentType]  # told decode_text later
            )
        return self._http

    async def warm_up(self) -> None:
        """Load the SDK now: its import takes a second of CPU that no live call should wait for."""
        await self._client()

    async def close(self) -> None:
        rest, self._rest = self._rest, None
        http, self._http = self._http, None
        if rest is not None:
            await rest.close()
        if http is not None:
            await http.close()
        await self._credential.close()

    async def _client(self) -> AsyncOpenAI:
        if self._rest is None:
            # The SDK takes a second to import: off the event loop, and only in processes that need it.
            openai = await asyncio.to_thread(_import_openai)
            from shared.providers.credentials import ApiKey

            key = self._credential
            headers = await key.headers() if isinstance(key, ApiKey) and key.azure else None
            if self._rest is None:  # another first request may have been faster
                self._rest = openai(
                    base_url=self._base_url,
                    api_key=self._credential.bearer,
                    default_headers=headers,
                    timeout=REST_TIMEOUT_S,
                    max_retries=REST_RETRIES,
                )
        return self._rest


def _import_openai() -> type[AsyncOpenAI]:
    from openai import AsyncOpenAI

    return AsyncOpenAI
