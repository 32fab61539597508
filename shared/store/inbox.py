"""Commands to a session, and how its owner hears of them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, cast

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from shared.errors import ConflictError, SidetoneError, UnavailableError
from shared.session.codec import COMMANDS
from shared.session.commands import Command, InboxEntry
from shared.store.connection import answered
from shared.store.event_log import read_stream, session_not_found
from shared.store.keys import WAKE_CHANNEL_PREFIX, SessionKeys, wake_channel
from shared.store.script import nonce
from shared.store.scripts import MAX_INBOX_ENTRIES, PUT_COMMAND

_log = logging.getLogger("sidetone.store.inbox")


class Inbox:
    """The durable inboxes of sessions. The owner reads on from the record's `inbox_cursor`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, session_id: str, command: Command, *, dedupe: str = "", traceparent: str = "") -> str:
        """Store a command, wake the session's owner, and return the entry's id.

        Returns "" when a command with the same `dedupe` was put before. Raises NotFoundError
        `session_not_found`, ConflictError `inbox_full` when too many wait to be applied.
        """
        args = [
            nonce(),
            dedupe,
            COMMANDS.encode(command).decode(),
            traceparent,
            session_id,
            WAKE_CHANNEL_PREFIX,
        ]
        status, *ids = await PUT_COMMAND.run(self._redis, SessionKeys(session_id).all, args)
        match status:
            case "missing":
                raise session_not_found(session_id)
            case "full":
                raise ConflictError(
                    "inbox_full", f"{MAX_INBOX_ENTRIES} commands wait for {session_id}; try again later."
                )
            case "seen":
                return ""
            case _:
                return ids[0]

    async def read(self, session_id: str, after: str, count: int = 50) -> list[InboxEntry]:
        """Return up to `count` commands that follow the id `after` ("0-0" for all), oldest first.

        A command that this version does not know is logged and left out.
        """
        found: list[InboxEntry] = []
        key = SessionKeys(session_id).inbox
        while not found:
            page = await read_stream(self._redis, key, after, count)
            for entry_id, fields in page:
                after = entry_id
                try:
                    command = COMMANDS.decode(fields["command"])
                except SidetoneError as error:
                    _log.error("a command does not decode", extra={"entry_id": entry_id, "code": error.code})
                    continue
                entry = InboxEntry(entry_id=entry_id, command=command, traceparent=fields["traceparent"])
                found.append(entry)
            if len(page) < count:
                break
        return found


class WakeUps:
    """Tells a worker which of its sessions has a new command: iterate over session ids.

    A wake-up is a hint, the inbox is the truth. "" means "look at all of them": the
    connection was lost for a while, and hints may have been missed. Hints for the same
    session that nobody has taken yet are one, so what waits is bounded by the sessions held.

    Use it as a context manager; entering raises UnavailableError when Redis does not answer,
    leaving ends the iteration.
    """

    def __init__(self, redis: Redis, worker: str, *, silence_s: float = 5.0) -> None:
        """silence_s: how long the connection may say nothing until it is asked whether it lives."""
        self._redis = redis
        self._channel = wake_channel(worker)
        self._silence_s = silence_s
        self._waiting: dict[str, None] = {}
        self._news = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        pubsub = self._redis.pubsub()
        try:
            await self._subscribe(pubsub)
        except BaseException:
            await pubsub.aclose()
            raise
        self._listener = asyncio.create_task(self._listen(pubsub), name="wake-ups")
        self._listener.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        """Return the next session id, or ""; raise what broke the listener, if anything did."""
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            if self._listener is not None and self._listener.done():
                self._listener.result()
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        session_id = next(iter(self._waiting))
        del self._waiting[session_id]
        return session_id

    async def close(self) -> None:
        """Stop listening and end the iteration; safe to call twice."""
        self._closed = True
        self._waiting.clear()
        self._news.set()
        while self._listener is not None and not self._listener.done():
            self._listener.cancel()  # again, if the client lost it (see `answered`)
            await asyncio.wait([self._listener], timeout=0.5)

    def _wake(self, session_id: str) -> None:
        self._waiting[session_id] = None
        self._news.set()

    async def _listen(self, pubsub: PubSub) -> None:
        pause = 0.0
        while True:
            try:
                if pause:
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                    pubsub = self._redis.pubsub()
                    await self._subscribe(pubsub)
                    self._wake("")
                pause = 0.1
                await self._follow(pubsub)
            except (UnavailableError, RedisError, OSError) as error:
                _log.warning("wake-ups lost their connection", extra={"error": type(error).__name__})
                pause = min(pause * 2, 2.0)
            finally:
                await pubsub.aclose()

    async def _subscribe(self, pubsub: PubSub) -> None:
        """Subscribe and wait until Redis says so; from then on nothing is missed."""

        async def confirmed() -> None:
            await pubsub.subscribe(self._channel)
            while (await pubsub.get_message(timeout=None) or {}).get("type") != "subscribe":
                pass

        await answered(confirmed())

    async def _follow(self, pubsub: PubSub) -> None:
        """Pass on what the channel says until the connection fails."""
        asked = False
        while True:
            message = await pubsub.get_message(timeout=self._silence_s)
            if message is None:
                if asked:
                    raise UnavailableError("redis_unavailable", "Redis has fallen silent.")
                asked = True
                await answered(pubsub.ping())
                continue
            asked = False
            match message["type"]:
                case "message":
                    self._wake(cast("str", message["data"]))
                case "subscribe":  # the client has reconnected by itself
                    self._wake("")
                case _:
                    pass
