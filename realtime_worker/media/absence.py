"""A caller whose media socket is gone: back in a moment, to be fetched, or gone for good.

A carrier opens a socket that was interrupted anew by itself; and where the worker died, it may be to another
worker. If it does not, it is asked once to. Whoever hangs up closes the socket too: then the call is not
there any more, which the carrier says when it is asked, and mostly before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from realtime_worker.media.caller_line import CallerLine
from shared.errors import SidetoneError
from shared.telemetry.logs import get_logger

_CALL_IS_OVER = frozenset({"call_not_found", "call_not_established"})

_log = get_logger(__name__)


async def gone_for_good(line: CallerLine, fetch: Callable[[], Awaitable[None]], *, wait_s: float) -> None:
    """Return when the caller is gone and does not come back.

    fetch: asks the carrier to open the socket; raises SidetoneError when it will not.
    wait_s: how long the carrier has to open it by itself, and once more when it was asked.
    """
    while True:
        await line.wait(connected=False)
        if await _back(line, wait_s):
            continue
        _log.warning("caller is away", extra={"seconds": wait_s})
        try:
            await fetch()
        except SidetoneError as error:
            _log.info("media can not be restarted", extra={"code": error.code})
            if error.code in _CALL_IS_OVER:
                return
        if not await _back(line, wait_s):
            return


async def _back(line: CallerLine, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await line.wait(connected=True)
    except TimeoutError:
        return False
    return True
