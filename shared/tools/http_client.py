"""One HTTP client for all tools of an event loop: pooled, bounded, and with timeouts."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

import aiohttp

# A tool that needs longer gives its request a timeout of its own.
TOTAL_S = 15.0
CONNECT_S = 5.0
CONNECTIONS = 100
CONNECTIONS_PER_HOST = 20

_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()


def http_client() -> aiohttp.ClientSession:
    """Return the running event loop's client, made on first use. Cookies are not kept: calls share it."""
    loop = asyncio.get_running_loop()
    client = _of_loop.get(loop)
    if client is None or client.closed:
        client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, limit_per_host=CONNECTIONS_PER_HOST),
            timeout=aiohttp.ClientTimeout(total=TOTAL_S, connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        _of_loop[loop] = client
    return client


async def close_http_client() -> None:
    """Close the running loop's client, if there is one; safe to call twice."""
    client = _of_loop.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.close()
