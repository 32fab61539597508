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
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[Ending[T]] = loop.create_future()
    task = asyncio.create_task(_settle(settled, work))
    deadline = loop.call_later(seconds, _set, settled, TimedOut())
    try:
        ending = await settled
    except asyncio.CancelledError:
        await _stop(task)
        raise
    finally:
        deadline.cancel()
    if isinstance(ending, TimedOut):
        await _stop(task)
    return ending


async def run_in_thread_within(seconds: float, work: Callable[[], T]) -> Ending[T]:
    """Run `work()` in a thread of its own and wait for at most `seconds`; a thread can't be stopped."""
    if not _slots.acquire(blocking=False):
        return NoThreadFree()
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[Ending[T]] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            ending: Ending[T] = Returned(value=context.run(work))
        except BaseException as error:  # also SystemExit: a tool must not decide about the process
            ending = Raised(error=error)
        finally:
            _slots.release()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_set, settled, ending)

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


async def _settle(settled: asyncio.Future[Ending[T]], work: Callable[[], Awaitable[T]]) -> None:
    try:
        ending: Ending[T] = Returned(value=await work())
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except asyncio.CancelledError as error:
        _set(settled, Raised(error=error))  # where nobody cancelled us: the work raised it itself
        raise
    except BaseException as error:  # also SystemExit: a tool must not decide about the process
        ending = Raised(error=error)
    _set(settled, ending)


def _set(settled: asyncio.Future[Ending[T]], ending: Ending[T]) -> None:
    if not settled.done():
        settled.set_result(ending)


async def _stop(task: asyncio.Task[T]) -> None:
    task.cancel()
    _, pending = await asyncio.wait({task}, timeout=GRACE_S)
    if pending:
        _log.error("a tool ignores its cancellation and was left behind")
        _unstoppable.add(task)
        task.add_done_callback(_unstoppable.discard)
