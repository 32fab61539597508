"""What the REST side makes of a service, or an identity, that does not play along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from shared.errors import SidetoneError
from shared.providers.credentials import ApiKey, EntraToken
from shared.providers.realtime_api import RealtimeApi
from tests.support.ports import free_port

PROTOCOL_CODES = {
    "provider_unauthorized",
    "provider_rate_limited",
    "provider_unavailable",
    "provider_rejected",
    "call_not_found",
}


@asynccontextmanager
async def answering(response: dict[str, object]) -> AsyncGenerator[str]:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(**response)  # type: ignore[arg-type]  # keyword arguments of aiohttp

    async with serving(handler) as base_url:
        yield base_url


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncGenerator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        await runner.cleanup()


def api(base_url: str) -> RealtimeApi:
    credential = ApiKey(value="k", azure=True)
    return RealtimeApi(name="azure_openai", base_url=base_url, credential=credential, model="gpt-realtime")


@pytest.mark.parametrize(
    "response",
    [
        {"text": "<html>a portal</html>", "content_type": "text/html"},
        {"text": "{", "content_type": "application/json"},
        {"text": "{}", "content_type": "application/json"},
        {"text": "null", "content_type": "application/json"},
    ],
)
async def test_an_answer_that_is_none_is_told_as_the_providers_failure(response: dict[str, object]) -> None:
    async with answering(response) as base_url:
        provider = api(base_url)
        try:
            with pytest.raises(SidetoneError) as raised:
                await provider.check()
        finally:
            await provider.close()
    assert raised.value.code in PROTOCOL_CODES


async def test_a_session_of_its_own_is_opened_for_the_model_without_an_api_version() -> None:
    asked: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append((request.path_qs, request.headers["api-key"]))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('{"type":"session.created","session":{"id":"sess_1"}}')
        return socket

    async with serving(handler) as base_url:
        credential = ApiKey(value="k", azure=True)
        provider = RealtimeApi(
            name="azure_openai", base_url=base_url, credential=credential, model="my model"
        )
        try:
            socket = await provider.connect_session()
            assert [event["type"] async for event in socket.events()] == ["session.created"]
            await socket.close()
        finally:
            await provider.close()
    assert asked == [("/v1/realtime?model=my+model", "k")]


async def test_a_model_that_is_not_there_is_no_call_that_is_not_there() -> None:
    async with answering({"status": 404}) as base_url:
        provider = api(base_url)
        try:
            with pytest.raises(SidetoneError, match="provider_rejected"):
                await provider.connect_session()
            with pytest.raises(SidetoneError, match="call_not_found"):
                await provider.connect_sideband("rtc_1")
        finally:
            await provider.close()


async def test_an_identity_without_a_token_is_told_and_worth_another_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    provider = RealtimeApi(
        name="azure_openai",
        base_url="http://127.0.0.1:9/v1",
        credential=EntraToken("https://cognitiveservices.azure.com/.default"),
        model="gpt-realtime",
    )
    try:
        for request in (lambda: provider.connect_sideband("rtc_1"), provider.check):
            with pytest.raises(SidetoneError) as raised:
                await request()
            assert (raised.value.code, raised.value.retryable) == ("provider_unauthorized", True)
            assert "identity" in raised.value.detail
    finally:
        await provider.close()


async def test_first_requests_that_come_together_share_one_client() -> None:
    async with answering({"status": 500}) as base_url:
        provider = api(base_url)
        try:
            clients = await asyncio.gather(*(provider._client() for _ in range(3)))
            assert len({id(client) for client in clients}) == 1
        finally:
            await provider.close()
