"""What a measured client is told: `attach FIRST COUNT` on standard input; the end of it ends the client.

On its own in this directory, and without other imports: it runs in the peers' environment.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
from collections.abc import Awaitable, Callable


async def serve(attach: Callable[[str], Awaitable[None]]) -> None:
    """Run `attach(call_id)`, which returns when the call is over, for each call of each command."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    gc.collect()
    gc.freeze()  # as the worker does: imported modules are no garbage
    print("ready", flush=True)
    tasks: set[asyncio.Task[None]] = set()
    while command := (await reader.readline()).split():
        first, count = int(command[1]), int(command[2])
        for number in range(first, first + count):
            tasks.add(asyncio.create_task(_attach(attach, f"rtc_{number}")))
            await asyncio.sleep(0.002)  # a worker does not attach all of its calls in one moment either


async def _attach(attach: Callable[[str], Awaitable[None]], call_id: str) -> None:
    try:
        await attach(call_id)
    except Exception:  # told in the log; who measures sees that the call does not come
        traceback.print_exc()
        raise


def run(attach: Callable[[str], Awaitable[None]]) -> None:
    """Serve on uvloop where it is installed, as the worker does."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(attach))
    else:
        uvloop.run(serve(attach))
