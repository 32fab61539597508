"""The back end of a web page that calls an agent: serves the page, holds the function key."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

_PAGE = Path(__file__).parent / "page"


class PageServer:
    """An application's own server. `answers`: what the product answered to its requests, as text."""

    def __init__(self, url: str, api: str, function_key: str) -> None:
        self.url = url
        self.answers: list[str] = []
        self._api = api
        self._key = function_key

    @property
    def page(self) -> str:
        """The page's address, with the API's in its query."""
        return f"{self.url}/index.html?api={self._api}"

    @classmethod
    @asynccontextmanager
    async def serving(cls, port: int, api: str, function_key: str) -> AsyncGenerator[PageServer, None]:
        """Serve the page on `port` of this machine until the block ends."""
        server = cls(f"http://127.0.0.1:{port}", api, function_key)
        app = web.Application()
        app.router.add_post("/session", server._grant)
        app.router.add_static("/", _PAGE)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield server
        finally:
            await runner.cleanup()

    async def _grant(self, _request: web.Request) -> web.Response:
        """Start a session for the page's visitor; the page gets what it needs for the call and no more."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
            http.post(
                f"{self._api}/token",
                json={"agent": "member_services"},
                headers={"x-functions-key": self._key},
            ) as answer,
        ):
            text = await answer.text()
            self.answers.append(text)
            if answer.status != 201:
                return web.Response(status=502, text=text)
            granted = await answer.json()
        return web.json_response(
            {
                "calls_url": granted["calls_url"],
                "client_secret": granted["client_secret"]["value"],
                "client_token": granted["client_token"],
                "session_id": granted["session_id"],
            }
        )
