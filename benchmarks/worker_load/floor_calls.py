"""`python -m benchmarks.worker_load.floor_calls WS_URL`: the least that can hold sidebands, told how many."""

from __future__ import annotations

import sys

import aiohttp

from benchmarks.floor_client import connect, follow
from benchmarks.worker_load.peers.commands import run


def main(url: str) -> None:
    """Serve `attach` commands until standard input ends."""
    clients: list[aiohttp.ClientSession] = []

    async def attach(call_id: str) -> None:
        if not clients:
            clients.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        await follow(await connect(clients[0], url, call_id))

    run(attach)


if __name__ == "__main__":
    main(sys.argv[1])
