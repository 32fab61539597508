"""The next provider session of a conversation, opened before the one in use is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from shared.errors import SidetoneError
from shared.providers.protocol import EventTaker, ProviderSocket
from shared.telemetry.logs import get_logger

# What a session says before it is configured is its greeting and little else.
EARLY_EVENTS = 16

_log = get_logger(__name__)


class SpareSession:
    """At most one session that waits; it is read meanwhile, so that pings are answered and a loss is seen.

    told: called with True when one is open, and with False when it could not be opened or was lost.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[ProviderSocket]], told: Callable[[bool], None]
    ) -> None:
        self._connect = connect
        self._told = told
        self._task: asyncio.Task[None] | None = None
        self._socket: ProviderSocket | None = None
        self._early: list[dict[str, object]] = []

    def prepare(self) -> None:
        """Begin to open one, unless that is under way."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="spare session")

    async def take(self) -> ProviderSocket | None:
        """Return the open session, with all that it has said, or None; afterwards there is none."""
        await self._stop()
        socket, self._socket = self._socket, None
        early, self._early = self._early, []
        return _Taken(socket, early) if socket is not None else None

    async def close(self) -> None:
        """Give up the one that waits; safe to call twice."""
        taken = await self.take()
        if taken is not None:
            await taken.close()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _keep(self) -> None:
        try:
            self._socket = socket = await self._connect()
        except SidetoneError as error:
            _log.warning("next provider session could not be opened", extra={"code": error.code})
        else:
            self._told(True)
            async for event in socket.events():
                if len(self._early) < EARLY_EVENTS:
                    self._early.append(event)
            _log.warning("next provider session was lost", extra={"close_code": socket.close_code or 0})
            await socket.close()
        self._task = self._socket = None
        self._early = []
        self._told(False)


class _Taken:
    """A ProviderSocket that first repeats what was read of it."""

    def __init__(self, socket: ProviderSocket, early: list[dict[str, object]]) -> None:
        self._socket = socket
        self._early = early
        self._taker: EventTaker | None = None
        self.send = socket.send
        self.send_audio = socket.send_audio
        self.play_to = socket.play_to
        self.tell_words = socket.tell_words
        self.close = socket.close

    @property
    def close_code(self) -> int | None:
        return self._socket.close_code

    @property
    def free(self) -> bool:
        return self._socket.free

    def give_to(self, taker: EventTaker | None) -> None:
        self._taker = taker
        if not self._early:
            self._socket.give_to(taker)

    async def events(self) -> AsyncIterator[dict[str, object]]:
        early, self._early = self._early, []
        for event in early:
            yield event
        self._socket.give_to(self._taker)
        async for event in self._socket.events():
            yield event
