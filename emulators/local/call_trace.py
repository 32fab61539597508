"""The trace of a call, fetched from the local trace sink once all of it has arrived."""

from __future__ import annotations

import asyncio
from typing import cast

import aiohttp

_QUIET_S = 1.5  # exporters send about once a second
_LOOK_EVERY_S = 0.25
_LONGEST_WAIT_S = 8.0


async def waterfalls_of(traces_url: str, session_id: str, *, width: int) -> list[str]:
    """Return a text waterfall for every trace that mentions the session, the oldest first.

    Waits until no more spans arrive. An empty list where the sink knows none, or does not answer.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        try:
            trace_ids = await _settled(http, f"{traces_url}/traces?session_id={session_id}")
            return [
                await _text(http, f"{traces_url}/traces/{trace_id}/waterfall?width={width}")
                for trace_id in trace_ids
            ]
        except (aiohttp.ClientError, TimeoutError):
            return []


async def _settled(http: aiohttp.ClientSession, url: str) -> list[str]:
    loop = asyncio.get_running_loop()
    last_change = began = loop.time()
    seen: list[tuple[float, str, int]] = []
    while loop.time() - last_change < _QUIET_S and loop.time() - began < _LONGEST_WAIT_S:
        async with http.get(url) as response:
            response.raise_for_status()
            traces = cast("list[dict[str, object]]", (await response.json())["traces"])
        now = sorted(
            (float(str(t["start_unix_ms"])), str(t["trace_id"]), int(str(t["spans"]))) for t in traces
        )
        if now != seen:
            seen, last_change = now, loop.time()
        await asyncio.sleep(_LOOK_EVERY_S)
    return [trace_id for _, trace_id, _ in seen]


async def _text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as response:
        response.raise_for_status()
        return (await response.text()).rstrip("\n")
