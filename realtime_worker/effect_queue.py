"""What the conversation wants done, in its order: records first, in one write, then the rest.

What waits for no record has a way of its own, so that it is sent also while Redis is away.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterable

from realtime_worker.commits import Commits
from realtime_worker.conversation.effects import (
    CountUsage,
    Effect,
    OutwardEffect,
    Record,
    RecordEffect,
    Send,
    tool_call_of,
)
from realtime_worker.occasional_work import OccasionalWork
from realtime_worker.wake import Wake
from shared.errors import SidetoneError
from shared.providers.protocol import ProviderSocket
from shared.session.log import AgentTurn, AudioStarted, Interrupted, ResponseUsage, UserTurn
from shared.telemetry.logs import get_logger

# Records that nothing waits for are written with the next that something does, or after this long.
PATIENCE_S = 0.01
# How many effects may wait while Redis is away: some ten minutes of talk. Then the provider is not read
# until there is room again: it keeps its events, and what it could not deliver is found after re-attaching.
PENDING_LIMIT = 1_000

_PATIENT = (UserTurn, AgentTurn, AudioStarted, Interrupted, ResponseUsage)

_log = get_logger(__name__)


class EffectQueue:
    """The effects of one conversation on their way.

    socket: the connection that what is wanted sent goes to; None while there is none.
    """

    __slots__ = (
        "_carry_out",
        "_commits",
        "_drained",
        "_hurry",
        "_patience",
        "_pending",
        "_recorded",
        "_room",
        "_sending",
        "_stopped",
        "_unrecorded",
        "_work",
        "socket",
    )

    def __init__(
        self,
        commits: Commits,
        *,
        recorded: Callable[[list[RecordEffect]], Awaitable[None]],
        carry_out: Callable[[OutwardEffect, ProviderSocket | None], Awaitable[None]],
        drained: Callable[[], None],
        broke: Callable[[Exception], None],
        context: contextvars.Context,
    ) -> None:
        """recorded: told what is written. carry_out: does one thing. drained: called after each look at the
        queue. broke: told what any of that raises. context: what all of it runs in."""
        self.socket: ProviderSocket | None = None
        self._commits = commits
        self._recorded = recorded
        self._carry_out = carry_out
        self._pending: list[Effect] = []
        self._unrecorded: list[Send] = []
        self._room = Wake(is_set=True)
        self._patience: asyncio.TimerHandle | None = None
        self._hurry = False
        self._stopped = False

        self._drained = drained
        self._work = OccasionalWork(self._look, broke, context)
        self._sending = OccasionalWork(self._send_unrecorded, broke, context)

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._pending

    def put(self, effects: Iterable[Effect]) -> None:
        """Have these done, in their order."""
        for effect in effects:
            if isinstance(effect, Send) and not effect.after_commit:
                self._unrecorded.append(effect)
                self._sending.wake()
            else:
                self._pending.append(effect)
        if self.full:
            self._room.clear()
        if not self._can_wait():
            self._work.wake()

    def look(self) -> None:
        """See again whether there is something to do."""
        self._work.wake()

    @property
    def full(self) -> bool:
        """Whether whoever brings more should wait for `room`."""
        return len(self._pending) >= PENDING_LIMIT

    async def room(self) -> None:
        """Wait until there is room for more."""
        await self._room.wait()

    def drop_sends(self) -> None:
        """What was meant for a lost connection must not reach the next: the core sends again what matters."""
        self._unrecorded.clear()
        self._pending = [effect for effect in self._pending if not isinstance(effect, Send)]

    def stop(self) -> None:
        """Begin nothing more; what is being done is done to its end."""
        self._stopped = True

    async def close(self) -> None:
        """Break off; safe to call twice."""
        if self._patience is not None:
            self._patience.cancel()
        await self._work.close()
        await self._sending.close()

    async def send(self, event: Send, socket: ProviderSocket | None) -> None:
        """Send an event to a connection, if that still holds."""
        if socket is None:
            return
        try:
            await socket.send(event.event)
        except SidetoneError as error:
            # The connection task sees the same close; what matters is sent again after the next attach.
            _log.info("event not sent", extra={"code": error.code})

    async def _send_unrecorded(self) -> None:
        while self._unrecorded:
            await self.send(self._unrecorded.pop(0), self.socket)

    async def _look(self) -> None:
        if not self._stopped and not self._can_wait():
            self._hurry = False
            await self._drain()
        self._drained()

    async def _drain(self) -> None:
        """Do what waits now.

        A drain without records is committed too: that is how an owner learns, before it acts, that the
        session is somebody else's.
        """
        drained, socket = self._pending, self.socket
        self._pending = []
        self._room.set()
        records = [e for e in drained if isinstance(e, RecordEffect)]
        known = await self._commits.commit(records)
        await self._recorded(records)
        for effect in drained:
            if isinstance(effect, OutwardEffect) and tool_call_of(effect) not in known:
                await self._carry_out(effect, socket)

    def _can_wait(self) -> bool:
        """Whether all that is pending may be written a moment later: with what comes next, in one write.

        So a tool's output does not wait for the bill of the response that called it.
        """
        if not self._pending:
            return True
        if self._hurry or self.full or not all(map(_is_patient, self._pending)):
            return False
        if self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._end_patience)
        return True

    def _end_patience(self) -> None:
        self._patience = None
        self._hurry = True
        self._work.wake()


def _is_patient(effect: Effect) -> bool:
    """Return whether nothing waits for the effect, and nobody misses it for a moment."""
    if isinstance(effect, Record):
        return isinstance(effect.entry, _PATIENT)
    return isinstance(effect, CountUsage)
