"""The logs of many sessions, followed with one blocking read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.session.codec import LOG
from shared.session.log import LoggedEntry
from shared.store.keys import SessionKeys

_BLOCK_MS = 50


class FollowedLogs:
    """Keeps what the followed logs hold; a Redis that goes away is waited for."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(redis_url, decode_responses=True)
        self._after: dict[str, str] = {}
        self._sessions: dict[str, str] = {}
        self._grown = asyncio.Condition()
        self._closed = False
        self._reading: asyncio.Task[None] | None = None
        self.entries: dict[str, list[LoggedEntry]] = {}

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(self._read_forever())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        self._closed = True  # a cancellation can be lost in the client on Python 3.11
        if self._reading is not None:
            await asyncio.wait([self._reading])
        await self._redis.aclose()

    def follow(self, session_id: str) -> None:
        """Read this log from its beginning on."""
        key = SessionKeys(session_id).log
        self._sessions[key] = session_id
        self.entries[session_id] = []
        self._after[key] = "0-0"

    async def wait(self, test: Callable[[], bool], *, within: float, what: str) -> None:
        """Return when `test` holds; it is asked whenever a log has grown.

        Raises AssertionError after `within` seconds.
        """
        try:
            async with asyncio.timeout(within), self._grown:
                await self._grown.wait_for(test)
        except TimeoutError:
            raise AssertionError(f"not within {within} s: {what}") from None

    async def _read_forever(self) -> None:
        while not self._closed:
            try:
                await self._read()
            except (RedisError, OSError):
                await asyncio.sleep(0.05)

    async def _read(self) -> None:
        if not self._after:
            await asyncio.sleep(0.02)
            return
        found: Any = await self._redis.xread(dict(self._after), block=_BLOCK_MS)
        streams = found.items() if isinstance(found, dict) else found
        for key, lines in streams:
            for entry_id, fields in lines:
                entry = LoggedEntry(
                    entry_id=entry_id, epoch=int(fields["epoch"]), entry=LOG.decode(fields["entry"])
                )
                self.entries[self._sessions[key]].append(entry)
                self._after[key] = entry_id
        if streams:
            async with self._grown:
                self._grown.notify_all()
