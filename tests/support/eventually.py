"""Wait for a state instead of sleeping for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(probe: Callable[[], T | Awaitable[T]], *, within: float = 10.0, what: str = "") -> T:
    """Call `probe` until it returns something truthy; return that.

    Raises AssertionError after `within` seconds, telling the last value seen.
    """
    deadline = time.monotonic() + within
    while True:
        value = probe()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or probe}; last seen: {value!r}")
        await asyncio.sleep(0.01)
