"""The trace of a call, fetched from the local trace sink once all of it has arrived."""

from __future__ import annotations

import asyncio
from typing import cast

import aiohttp

_QUIET_S = 1.5  # exporters send about once a second
_LOOK_EVERY_S = 0.25
_LONGEST_WAIT_S = 8.0


async def waterfall_of(traces_url: str, session_id: str, *, width: int) -> str:
    """Return the text waterfall of the session's trace: of those that mention it, the one with most spans.

    (The others are requests of whoever watches the session.) Waits until no more spans arrive. Empty where
    the sink knows none, or does not answer.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        try:
            trace_id = await _settled(http, f"{traces_url}/traces?session_id={session_id}")
            return (
                await _text(http, f"{traces_url}/traces/{trace_id}/waterfall?width={width}")
                if trace_id
                else ""
            )
        except (aiohttp.ClientError, TimeoutError):
            return ""


async def _settled(http: aiohttp.ClientSession, url: str) -> str:
    """Return the id of the largest trace once it has stopped growing; "" where there is none."""
    loop = asyncio.get_running_loop()
    last_change = began = loop.time()
    largest: tuple[int, str] = (0, "")
    while loop.time() - last_change < _QUIET_S and loop.time() - began < _LONGEST_WAIT_S:
        async with http.get(url) as response:
            response.raise_for_status()
            traces = cast("list[dict[str, object]]", (await response.json())["traces"])
        now = max(((int(str(trace["spans"])), str(trace["trace_id"])) for trace in traces), default=(0, ""))
        if now != largest:
            largest, last_change = now, loop.time()
        await asyncio.sleep(_LOOK_EVERY_S)
    return largest[1]


async def _text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as response:
        response.raise_for_status()
        return (await response.text()).rstrip("\n")
