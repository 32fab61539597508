"""The one HTTP client for everything that the service dials: callbacks, Event Grid, media sockets."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp


class OutboundHttp:
    """Opens its client when it is first needed. `trusted` adds a CA to those that the machine trusts."""

    def __init__(self, trusted: Path | None) -> None:
        self._trusted = trusted
        self._client: aiohttp.ClientSession | None = None

    @property
    def client(self) -> aiohttp.ClientSession:
        """The client; only within the running event loop."""
        if self._client is None:
            context = ssl.create_default_context()
            if self._trusted is not None:
                context.load_verify_locations(self._trusted)
            # Every call holds a socket for as long as it lasts: no limit of connections.
            connector = aiohttp.TCPConnector(limit=0, ssl=context)
            self._client = aiohttp.ClientSession(connector=connector)
        return self._client

    async def close(self) -> None:
        """Close all connections; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
