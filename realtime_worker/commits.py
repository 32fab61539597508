"""Commit a session's records under its epoch, through trouble with Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from realtime_worker.conversation.effects import (
    ConsumeInbox,
    CountUsage,
    Record,
    RecordEffect,
    SetStanding,
    SetState,
)
from shared.errors import UnavailableError
from shared.session.log import LogEntry, StateChanged, ToolCalled, ToolFinished, ToolMadeDurable
from shared.session.model import SessionState, Standing, Usage
from shared.store.ownership import Ownership
from shared.store.script import nonce
from shared.telemetry.logs import get_logger

# Waits between attempts while Redis does not answer. The session goes on talking meanwhile.
RETRY_FIRST_S = 0.05
RETRY_LIMIT_S = 1.0

T = TypeVar("T")

_log = get_logger(__name__)


class Commits:
    """The fenced writes of one session. Not for concurrent use: one task commits."""

    def __init__(self, ownership: Ownership, session_id: str, epoch: int) -> None:
        self._ownership = ownership
        self._session_id = session_id
        self._epoch = epoch
        self._name = nonce()  # of this writer, among those that may have had the epoch before
        self._count = 0

    async def commit(self, effects: Iterable[RecordEffect]) -> frozenset[str]:
        """Write all of `effects` in one step, waiting for Redis as long as it takes.

        Returns the tool calls whose record was refused because the log has it already: what they
        ask for has been done, and must not be done again.

        Raises FencedError when another owner has taken over. Cancelling it may or may not leave
        the records written.
        """
        entries: list[LogEntry] = []
        state: SessionState | None = None
        reason = ""
        usage: Usage | None = None
        standing: Standing | None = None
        cursor: str | None = None
        for effect in effects:
            match effect:
                case Record(entry=entry):
                    entries.append(entry)
                case SetState():
                    state, reason = effect.state, effect.reason
                    entries.append(StateChanged(state=state, reason=reason, at_ms=effect.at_ms))
                case CountUsage():
                    usage = effect.usage
                case SetStanding():
                    standing = effect.standing
                case ConsumeInbox():
                    cursor = effect.entry_id
        self._count += 1
        commit_id = f"{self._name}{self._count}"  # the same for all attempts, and never that of another write
        entry_ids = await until_redis_answers(
            lambda: self._ownership.commit(
                self._session_id,
                self._epoch,
                entries=entries,
                state=state,
                reason=reason,
                usage=usage,
                inbox_cursor=cursor,
                standing=standing,
                commit_id=commit_id,
            )
        )
        return frozenset(
            entry.tool_call_id
            for entry, entry_id in zip(entries, entry_ids, strict=True)
            if not entry_id and isinstance(entry, ToolCalled | ToolFinished | ToolMadeDurable)
        )


async def until_redis_answers(operation: Callable[[], Awaitable[T]]) -> T:
    """Return what `operation` returns, repeating it for as long as the store is unavailable."""
    delay = RETRY_FIRST_S
    while True:
        try:
            return await operation()
        except UnavailableError as error:
            _log.warning("waiting for the store", extra={"code": error.code, "retry_in_s": delay})
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_LIMIT_S)
