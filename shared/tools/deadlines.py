"""Run somebody else's function under a deadline that it can't outlive, and survive whatever it does."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

# Threads for sync tools in this process. One that hangs keeps its thread until it returns; the others
# do not notice, and no thread keeps the process from exiting.
MAX_THREADS = 32
# What a coroutine gets to clean up in after it was cancelled.
GRACE_S = 1.0

_log = logging.getLogger("sidetone.tools")
_slots = threading.BoundedSemaphore(MAX_THREADS)
_unstoppable: set[asyncio.Task[object]] = set()


@dataclass(frozen=True, kw_only=True)
class Returned(Generic[T]):
    value: T


@dataclass(frozen=True, kw_only=True)
class Raised:
    error: BaseException


@dataclass(frozen=True, kw_only=True)
class TimedOut:
    pass


@dataclass(frozen=True, kw_only=True)
class NoThreadFree:
    """It was not started: MAX_THREADS sync functions are running."""


Ending: TypeAlias = Returned[T] | Raised | TimedOut | NoThreadFree


async def await_within(seconds: float, work: Callable[[], Awaitable[T]]) -> Ending[T]:
    """Await `work()` for at most `seconds`, then cancel it.

    Cancelling the caller cancels the work. One that ignores its cancellation is left behind and logged.
    """
    task = asyncio.create_task(_guarded(work))
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _stop(task)
        raise
    if not done:
        await _stop(task)
        return TimedOut()
    if task.cancelled():  # the work raised CancelledError itself: nobody cancelled us
        return Raised(error=asyncio.CancelledError())
    return task.result()


async def run_in_thread_within(seconds: float, work: Callable[[], T]) -> Ending[T]:
    """Run `work()` in a thread of its own and wait for at most `seconds`; a thread can't be stopped."""
    if not _slots.acquire(blocking=False):
        return NoThreadFree()
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[Ending[T]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(ending: Ending[T]) -> None:
        if not settled.done():
            settled.set_result(ending)

    def run() -> None:
        try:
            ending: Ending[T] = Returned(value=context.run(work))
        except BaseException as error:  # also SystemExit: a tool must not decide about the process
            ending = Raised(error=error)
        finally:
            _slots.release()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, ending)

    try:
        threading.Thread(target=run, name="tool", daemon=True).start()
    except RuntimeError:  # the machine has no thread left
        _slots.release()
        return NoThreadFree()
    try:
        async with asyncio.timeout(seconds):
            return await settled
    except TimeoutError:
        return TimedOut()


async def _guarded(work: Callable[[], Awaitable[T]]) -> Ending[T]:
    try:
        return Returned(value=await work())
    except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # also SystemExit: a tool must not decide about the process
        return Raised(error=error)


async def _stop(task: asyncio.Task[T]) -> None:
    task.cancel()
    _, pending = await asyncio.wait({task}, timeout=GRACE_S)
    if pending:
        _log.error("a tool ignores its cancellation and was left behind")
        _unstoppable.add(task)
        task.add_done_callback(_unstoppable.discard)
