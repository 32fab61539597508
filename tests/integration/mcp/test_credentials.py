"""Signing in to MCP servers: by secrets, by OAuth client credentials; and servers that are commands."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import web

from shared.errors import SidetoneError
from shared.mcp.credentials import SecretStore
from shared.session.log import ToolStatus
from tests.integration.mcp.conftest import MakeDesk
from tests.support.mcp_server import ScriptedMcpServer, tool
from tests.support.ports import free_port

COMMAND = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("files")
@server.tool()
def read(name: str) -> str:
    return f"contents of {name}"
server.run()
"""


class AuthorizationServer:
    """Issues tokens for client credentials; `issued` counts them. Tokens are good until `revoke`.

    protects: the address of the server that the tokens are for.
    """

    def __init__(self) -> None:
        self.protects = ""
        self.issued = 0
        self.port = free_port()
        self._good = ""

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lets_in(self, request: web.Request) -> bool:
        return bool(self._good) and request.headers.get("Authorization") == f"Bearer {self._good}"

    def revoke(self) -> None:
        self._good = ""

    async def metadata(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "response_types_supported": ["code"],
                "grant_types_supported": ["client_credentials"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            }
        )

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form["grant_type"] != "client_credentials" or request.headers["Authorization"] != _BASIC:
            return web.json_response({"error": "invalid_client"}, status=401)
        self.issued += 1
        self._good = f"token-{self.issued}"
        return web.json_response({"access_token": self._good, "token_type": "Bearer", "expires_in": 3600})


_BASIC = "Basic Y2xpZW50LTE6dGhlLXJpZ2h0LXRva2Vu"  # client-1:the-right-token


class ProtectedServer(ScriptedMcpServer):
    """Wants a token of the authorization server, and says where that is."""

    def __init__(self, *tools: Mapping[str, object], keys: AuthorizationServer) -> None:
        super().__init__(*tools)
        self._keys = keys

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not self._keys.lets_in(request):
            where = f"http://127.0.0.1:{self._keys.port}/.well-known/oauth-protected-resource"
            challenge = {"WWW-Authenticate": f'Bearer resource_metadata="{where}"'}
            return web.json_response({"error": "invalid_token"}, status=401, headers=challenge)
        return await super()._answer(request)


@pytest.fixture
async def keys() -> AsyncIterator[AuthorizationServer]:
    server = AuthorizationServer()

    async def resource(request: web.Request) -> web.Response:
        return web.json_response({"resource": server.protects, "authorization_servers": [server.issuer]})

    app = web.Application()
    app.router.add_get("/.well-known/oauth-protected-resource", resource)
    app.router.add_get("/.well-known/oauth-authorization-server", server.metadata)
    app.router.add_post("/token", server.token)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", server.port).start()
    yield server
    await runner.cleanup()


async def test_client_credentials_get_a_token_when_asked_and_anew_when_it_is_refused(
    desk: MakeDesk, keys: AuthorizationServer
) -> None:
    async with ProtectedServer(tool("pay"), tool("wait"), keys=keys) as server:
        keys.protects = server.url
        auth = {
            "type": "client_credentials",
            "client_id": "client-1",
            "client_secret": "billing-mcp-token",
            "issuer": keys.issuer,
        }
        line = desk(billing={"url": server.url, "auth": auth, "timeout_s": 10})
        assert (await line.run("billing__pay")).status is ToolStatus.OK
        before = keys.issued

        keys.revoke()
        outcomes = await asyncio.gather(*(line.run("billing__pay") for _ in range(4)))
        assert {outcome.status for outcome in outcomes} == {ToolStatus.OK}
        assert keys.issued == before + 1, "one token for all that were refused at once"

        # One call that hangs holds up no other: the SDK's own flow would.
        released = asyncio.Event()

        async def wait(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
            if name == "wait":
                await released.wait()
            return await ScriptedMcpServer._echo(name, arguments, request)

        server.on_call = wait
        hanging = asyncio.create_task(line.run("billing__wait"))
        assert (await line.run("billing__pay")).status is ToolStatus.OK
        assert not hanging.done()
        released.set()
        assert (await hanging).status is ToolStatus.OK


async def test_client_credentials_go_to_the_named_issuer_only(
    desk: MakeDesk, keys: AuthorizationServer
) -> None:
    async with ProtectedServer(tool("pay"), keys=keys) as server:
        keys.protects = server.url
        auth = {
            "type": "client_credentials",
            "client_id": "client-1",
            "client_secret": "billing-mcp-token",
            "issuer": "https://login.example",
        }
        line = desk(billing={"url": server.url, "auth": auth, "tools": ["pay"]})
        assert "mcp_unavailable" in (await line.run("billing__pay")).output
        assert keys.issued == 0


async def test_a_key_goes_into_the_servers_own_header(desk: MakeDesk) -> None:
    seen: list[str | None] = []

    async def look(name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        seen.append(request.headers.get("x-api-key"))
        return await ScriptedMcpServer._echo(name, arguments, request)

    async with ScriptedMcpServer(tool("pay")) as server:
        server.on_call = look
        auth = {"type": "header", "header": "x-api-key", "secret": "billing-mcp-token"}
        await desk(billing={"url": server.url, "auth": auth}).run("billing__pay")
        assert seen == ["the-right-token"]


async def test_a_secret_that_is_nowhere_is_named_with_where_it_could_be() -> None:
    with pytest.raises(SidetoneError) as refused:
        await SecretStore({}, "").read("billing-mcp-token")
    assert refused.value.code == "secret_missing"
    assert "BILLING_MCP_TOKEN" in refused.value.detail


async def test_a_command_is_a_server_in_development_only(desk: MakeDesk) -> None:
    section = {"command": [sys.executable, "-c", COMMAND], "timeout_s": 20}
    refused = desk(files=section)
    with pytest.raises(SidetoneError) as told:
        await refused.pool.warm_up(refused.agents)
    assert "MCP_ALLOW_STDIO" in told.value.detail

    line = desk(files=section, allow_stdio=True, wait_s=30)
    assert await line.output("files__read", {"name": "a.txt"}) == {"result": "contents of a.txt"}
