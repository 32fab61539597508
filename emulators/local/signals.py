"""Ctrl-C and SIGTERM end the program's work in order, and never with a traceback."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_signalled(work: Callable[[], Coroutine[object, object, int]]) -> int:
    """Run `work` on a new event loop and return its exit code.

    The first signal cancels it: `work` cleans up in `finally` and `async with`, which further signals do not
    cut short, and the process exits with 128 + the signal's number, as shells have it.
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
            _leave(128 + received[0])

    try:
        return asyncio.run(interruptible())
    except KeyboardInterrupt:  # in the moment before the handlers stood
        return 128 + signal.SIGINT


def _leave(code: int) -> NoReturn:
    """Exit at once: a thread in the middle of a sentence's speech would hold the interpreter for seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
