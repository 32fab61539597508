"""Ctrl-C and SIGTERM end the program's work in order, and never with a traceback."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_signalled(work: Callable[[], Coroutine[object, object, int]]) -> int:
    """Run `work` on a new event loop and return its exit code.

    The first signal cancels it; the code is then 128 + the signal's number, as shells have it. `work`
    cleans up in `finally` and `async with`; further signals do not cut that short.
    """
    received: list[signal.Signals] = []

    async def interruptible() -> int:
        loop = asyncio.get_running_loop()
        working = asyncio.ensure_future(work())

        def cancel(number: signal.Signals) -> None:
            if not received:
                working.cancel()
            received.append(number)

        for number in _SIGNALS:
            loop.add_signal_handler(number, cancel, number)
        try:
            return await working
        except asyncio.CancelledError:
            if not received:
                raise
            return 128 + received[0]

    try:
        return asyncio.run(interruptible())
    except KeyboardInterrupt:  # in the moment before the handlers stood
        return 128 + signal.SIGINT
