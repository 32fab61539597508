"""The event log of a session: appending for the control plane, and reading."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from redis.asyncio import Redis

from shared.errors import InvalidRequestError, NotFoundError, SidetoneError
from shared.session.codec import LOG
from shared.session.log import (
    ErrorRecorded,
    LogEntry,
    LoggedEntry,
    ToolCalled,
    ToolFinished,
    ToolMadeDurable,
)
from shared.store.connection import answered
from shared.store.keys import SessionKeys
from shared.store.script import nonce
from shared.store.scripts import APPEND

_log = logging.getLogger("sidetone.store.event_log")

MAX_ENTRY_BYTES = 256 * 1024
"""The largest entry, as JSON, that a log takes."""

_PAGE = 500


class EventLog:
    """What happened in sessions. Owners write through `Ownership.commit`; this is for all others."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def append(self, session_id: str, entries: Sequence[LogEntry], *, dedupe: str = "") -> list[str]:
        """Append `entries` for the control plane (epoch 0), all or none; return their ids.

        Returns [] when entries with the same `dedupe` were appended before.
        Raises NotFoundError `session_not_found`, InvalidRequestError `entry_too_large`.
        """
        args = [nonce(), dedupe and f"log:{dedupe}", *entry_args(entries)]
        status, *ids = await APPEND.run(self._redis, SessionKeys(session_id).all, args)
        if status == "missing":
            raise session_not_found(session_id)
        return ids_of(ids[0]) if status == "ok" else []

    async def read(self, session_id: str, after: str = "0-0", limit: int = 100) -> list[LoggedEntry]:
        """Return up to `limit` entries that follow the id `after`, oldest first ([] when there are none).

        An entry that this version cannot decode is told as an ErrorRecorded `undecodable`.
        Raises InvalidRequestError `invalid_cursor` when `after` is no entry id.
        """
        key = SessionKeys(session_id).log
        return [logged_entry(i, f) for i, f in await read_stream(self._redis, key, after, limit)]

    async def tail(self, session_id: str, limit: int) -> list[LoggedEntry]:
        """Return the newest `limit` entries, oldest first."""
        found = await answered(self._redis.xrevrange(SessionKeys(session_id).log, count=limit))
        lines = cast("list[tuple[str, dict[str, str]]]", found or [])
        return [logged_entry(entry_id, fields) for entry_id, fields in reversed(lines)]

    async def read_all(self, session_id: str) -> list[LoggedEntry]:
        """Return the whole log (see MAX_LOG_ENTRIES), oldest first."""
        entries: list[LoggedEntry] = []
        while True:
            after = entries[-1].entry_id if entries else "0-0"
            page = await self.read(session_id, after, _PAGE)
            entries.extend(page)
            if len(page) < _PAGE:
                return entries


def session_not_found(session_id: str) -> NotFoundError:
    """Return the error for a session that is not there."""
    return NotFoundError(
        "session_not_found", f"There is no session {session_id}; it never was, has expired, or was erased."
    )


def entry_args(entries: Iterable[LogEntry]) -> list[str]:
    """Return `entries` as the scripts take them: what each does to the tool ledger, and its JSON text.

    Raises InvalidRequestError `entry_too_large`.
    """
    args: list[str] = []
    for entry in entries:
        match entry:
            case ToolCalled():
                args.append(f"called {entry.tool_call_id}")
            case ToolMadeDurable():
                args.append(f"durable {entry.tool_call_id}")
            case ToolFinished():
                args.append(f"finished {entry.tool_call_id}")
            case _:
                args.append("")
        text = LOG.encode(entry)
        if len(text) > MAX_ENTRY_BYTES:
            raise InvalidRequestError(
                "entry_too_large",
                f"A {LOG.tag(entry)} entry has {len(text)} bytes; a log takes {MAX_ENTRY_BYTES}. Shorten it.",
            )
        args.append(text.decode())
    return args


def ids_of(joined: str) -> list[str]:
    """Return the entry ids of a script's reply; '' stands for an entry that was already there."""
    return joined.split(",")[:-1]


def logged_entry(entry_id: str, fields: Mapping[str, str]) -> LoggedEntry:
    """Return the entry that a stream's fields hold."""
    try:
        entry = LOG.decode(fields["entry"])
    except SidetoneError as error:
        _log.error("a log entry does not decode", extra={"entry_id": entry_id, "code": error.code})
        entry = ErrorRecorded(
            source="control",
            code=error.code,
            detail="An entry of another version of the product.",
            at_ms=int(entry_id.partition("-")[0]),
        )
    return LoggedEntry(entry_id=entry_id, epoch=int(fields["epoch"]), entry=entry)


async def read_stream(redis: Redis, key: str, after: str, limit: int) -> list[tuple[str, dict[str, str]]]:
    """Return up to `limit` entries of a stream that follow the id `after`, as (id, fields).

    Raises InvalidRequestError `invalid_cursor` when `after` is no stream id.
    """
    milliseconds, _, sequence = after.partition("-")
    if not (milliseconds.isdecimal() and sequence.isdecimal() and len(after) <= 41 and after.isascii()):
        raise InvalidRequestError("invalid_cursor", "The cursor must be an entry id such as 1700000000000-0.")
    found = await answered(redis.xrange(key, min=f"({after}", max="+", count=limit))
    return cast("list[tuple[str, dict[str, str]]]", found or [])
