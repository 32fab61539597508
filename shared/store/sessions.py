"""Session records: creating, finding, ending, archiving and erasing sessions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis

from shared.errors import ConflictError, InvalidRequestError
from shared.session.log import Archived, SessionCreated, StateChanged
from shared.session.model import Session, SessionState
from shared.store import keys, scripts
from shared.store.connection import answered
from shared.store.event_log import entry_args, session_not_found
from shared.store.keys import SessionKeys
from shared.store.record import from_fields, to_fields
from shared.store.script import nonce

_SCANNED_PER_PAGE = 1_000
_SWEPT_PER_CREATE = 3
_SETTLED_AFTER_MS = 600_000  # clocks may differ by less than this


@dataclass(frozen=True, kw_only=True)
class SessionPage:
    """Sessions, newest first. `next_cursor` is "" on the last page."""

    sessions: list[Session]
    next_cursor: str


class SessionStore:
    """The records of all sessions. A session's keys live `retention_s` after its last write."""

    def __init__(self, redis: Redis, *, retention_s: int) -> None:
        self._redis = redis
        self._retention_s = retention_s

    async def create(self, session: Session) -> None:
        """Store a new session with the first entry of its log.

        The index comes first: a session that is listed nowhere could be forgotten, while a
        listing whose record never came is cleared later.

        Raises ConflictError `session_exists`.
        """
        listed = await list_session(self._redis, session, self._retention_s, _SWEPT_PER_CREATE)
        fields = flatten({**to_fields(session), "retention_s": str(self._retention_s), "fence": ""})
        created = SessionCreated(
            agent=session.agent,
            agent_version=session.agent_version,
            transport=session.transport.value,
            at_ms=session.created_at_ms,
        )
        args = [nonce(), len(fields), *fields, *entry_args([created])]
        (status,) = await scripts.CREATE.run(self._redis, SessionKeys(session.session_id).all, args)
        if status == "exists":
            raise ConflictError("session_exists", f"There already is a session {session.session_id}.")
        await self._forget_gone(listed)  # a few of those that have expired, at each creation

    async def get(self, session_id: str) -> Session:
        """Return the session; raise NotFoundError `session_not_found`."""
        fields = await answered(self._redis.hgetall(SessionKeys(session_id).record))
        if not fields:
            raise session_not_found(session_id)
        return from_fields(cast("Mapping[str, str]", fields))

    async def report_call(self, session_id: str, call_id: str, provider: str) -> Session:
        """Tie the provider's call to the session, which moves from CREATED to CONNECTING (and logs that).

        Reporting the same call again changes nothing. Raises NotFoundError `session_not_found`,
        ConflictError `session_ended`, `call_already_reported` (the session has another call) or
        `call_of_another_session`.
        """
        session = await self.get(session_id)
        if not session.live:
            raise session_ended(session_id)
        key = keys.call_key(call_id)
        if await self.claim_call(session_id, call_id) != session_id:
            raise ConflictError("call_of_another_session", "That call belongs to another session.")
        moved = StateChanged(state=SessionState.CONNECTING.value, at_ms=_now_ms())
        args = [call_id, provider, *entry_args([moved])]
        (status,) = await scripts.REPORT_CALL.run(self._redis, SessionKeys(session_id).all, args)
        if status != "ok":
            await scripts.DROP_CALL.run(self._redis, [key], [session_id])
        match status:
            case "missing":
                raise session_not_found(session_id)
            case "ended":
                raise session_ended(session_id)
            case "other":
                raise ConflictError(
                    "call_already_reported", f"{session_id} already has another call; create a new session."
                )
            case _:
                return await self.get(session_id)

    async def begin(self, session_id: str, provider: str) -> Session:
        """Move a session whose audio a worker carries from CREATED to CONNECTING (and log that): there is no
        provider's call to report. Queue it for a worker afterwards.

        Doing it again changes nothing. Raises NotFoundError `session_not_found`, ConflictError
        `session_ended`.
        """
        moved = StateChanged(state=SessionState.CONNECTING.value, at_ms=_now_ms())
        args = [provider, *entry_args([moved])]
        (status,) = await scripts.BEGIN.run(self._redis, SessionKeys(session_id).all, args)
        match status:
            case "missing":
                raise session_not_found(session_id)
            case "ended":
                raise session_ended(session_id)
            case _:
                return await self.get(session_id)

    async def claim_call(self, session_id: str, name: str) -> str:
        """Tie a name of a call to the session, unless it is another's; return the session that it is tied to.

        Names are call ids, and what else tells that two requests mean the same call.
        """
        life = self._retention_s + keys.SIDE_KEY_GRACE_S
        (whose,) = await scripts.CLAIM_CALL.run(self._redis, [keys.call_key(name)], [session_id, life])
        return str(whose)

    async def name_call(self, session_id: str, call_id: str, *, answered_at_ms: int = 0) -> Session:
        """Note the carrier's id of the session's call, once it is told, and when the call was answered.

        It moves the session nowhere, and is noted of one that is over, too: that call is to be hung up.
        Doing it again changes nothing. Raises NotFoundError `session_not_found`, ConflictError
        `call_already_reported` (the session has another call), `call_of_another_session`.
        """
        if await self.claim_call(session_id, call_id) != session_id:
            raise ConflictError("call_of_another_session", "That call belongs to another session.")
        args = [call_id, answered_at_ms]
        (status,) = await scripts.NAME_CALL.run(self._redis, SessionKeys(session_id).all, args)
        match status:
            case "missing":
                await scripts.DROP_CALL.run(self._redis, [keys.call_key(call_id)], [session_id])
                raise session_not_found(session_id)
            case "other":
                await scripts.DROP_CALL.run(self._redis, [keys.call_key(call_id)], [session_id])
                raise ConflictError("call_already_reported", f"{session_id} already has another call.")
            case _:
                return await self.get(session_id)

    async def session_of_call(self, call_id: str) -> str | None:
        """Return the id of the session that the provider's call belongs to, if any."""
        return cast("str | None", await answered(self._redis.get(keys.call_key(call_id))))

    async def page(self, limit: int, cursor: str = "", state: SessionState | None = None) -> SessionPage:
        """Return up to `limit` sessions, newest first, that come after `cursor` ("" to begin).

        With `state`, only sessions in it. A page can be short although more follow (one call
        looks at a limited number of records); only an empty `next_cursor` tells the end.
        Raises InvalidRequestError `invalid_cursor`.
        """
        found: list[Session] = []
        position, scanned = _checked(cursor), 0
        while scanned < _SCANNED_PER_PAGE:
            count = max(1, min(limit - len(found) if state is None else 2 * limit, 200))
            members = await self._members_before(position, count)
            scanned += len(members)
            for member, session in await self._records(members):
                position = member
                if session is not None and (state is None or session.state is state):
                    found.append(session)
                if len(found) >= limit:
                    return SessionPage(sessions=found, next_cursor=position)
            if len(members) < count:
                return SessionPage(sessions=found, next_cursor="")
        return SessionPage(sessions=found, next_cursor=position)

    async def mark_ended(self, session_id: str, reason: str, at_ms: int) -> bool:
        """End the session from outside: log it, raise the epoch so that its owner is fenced, drop the lease.

        Returns whether this call ended it; the first reason stays. Raises NotFoundError
        `session_not_found`.
        """
        moved = StateChanged(state=SessionState.ENDED.value, reason=reason, at_ms=at_ms)
        args = [nonce(), at_ms, reason, *entry_args([moved])]
        status, *epoch = await scripts.MARK_ENDED.run(self._redis, SessionKeys(session_id).all, args)
        if status == "missing":
            raise session_not_found(session_id)
        if status == "already":
            return False
        await drop_lease(self._redis, session_id, int(epoch[0]))
        return True

    async def archive(self, session_id: str, entry: Archived) -> bool:
        """Move an ended session to ARCHIVED with its summary, and log `entry`.

        Returns whether this call did it. Raises NotFoundError `session_not_found`, ConflictError
        `session_not_ended`.
        """
        args = [nonce(), entry.summary, *entry_args([entry])]
        (status,) = await scripts.ARCHIVE.run(self._redis, SessionKeys(session_id).all, args)
        match status:
            case "missing":
                raise session_not_found(session_id)
            case "live":
                raise ConflictError("session_not_ended", f"{session_id} is still live; end it first.")
            case _:
                return status == "ok"

    async def erase(self, session_id: str) -> None:
        """Remove all that is stored of the session; doing it again is harmless.

        An owner is fenced by it: there is no record any more that its writes could match.
        """
        session_keys = SessionKeys(session_id)
        wanted = ("call_id", "created_at_ms", "principal")
        told = await answered(self._redis.hmget(session_keys.record, wanted))
        call_id, created, principal = cast("list[str | None]", told)
        if call_id:
            await scripts.DROP_CALL.run(self._redis, [keys.call_key(call_id)], [session_id])
        if created:
            await answered(self._redis.zrem(keys.INDEX, keys.index_member(int(created), session_id)))
        if principal:
            await answered(self._redis.zrem(keys.live_key(principal), session_id))
        await answered(self._redis.unlink(*session_keys.all))
        await drop_lease(self._redis, session_id, None)

    async def live_count(self, principal: str) -> int:
        """Return how many live sessions the principal holds a reservation for (see Limits)."""
        (count,) = await scripts.COUNT_LIVE.run(self._redis, [keys.live_key(principal)], [])
        return int(count)

    async def _members_before(self, position: str, count: int) -> list[str]:
        newest = f"({position}" if position else "+"
        members = await answered(
            self._redis.zrevrangebylex(keys.INDEX, max=newest, min="-", start=0, num=count)
        )
        return cast("list[str]", members)

    async def _records(self, members: list[str]) -> list[tuple[str, Session | None]]:
        """Return the sessions of index members; clear members whose record is gone."""
        if not members:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            for member in members:
                pipe.hgetall(SessionKeys(keys.session_of_member(member)[1]).record)
            records = cast("list[dict[str, str]]", await answered(pipe.execute()))
        await self._forget(member for member, fields in zip(members, records, strict=True) if not fields)
        return [
            (member, from_fields(fields) if fields else None)
            for member, fields in zip(members, records, strict=True)
        ]

    async def _forget_gone(self, members: Iterable[str]) -> None:
        """Clear those index members whose record is gone, without reading the records of the others."""
        old = [member for member in members if _settled(member)]
        if not old:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for member in old:
                pipe.exists(SessionKeys(keys.session_of_member(member)[1]).record)
            there = cast("list[int]", await answered(pipe.execute()))
        await self._forget(member for member, exists in zip(old, there, strict=True) if not exists)

    async def _forget(self, members: Iterable[str]) -> None:
        gone = [member for member in members if _settled(member)]
        if gone:
            await answered(self._redis.zrem(keys.INDEX, *gone))


def _settled(member: str) -> bool:
    """Return whether the session was listed long enough ago for its record to be there if it ever came."""
    return keys.session_of_member(member)[0] < _now_ms() - _SETTLED_AFTER_MS


async def list_session(redis: Redis, session: Session, retention_s: int, sample: int = 1) -> list[str]:
    """Add the session to the index; return `sample` members of it, drawn at random."""
    member = keys.index_member(session.created_at_ms, session.session_id)
    life = retention_s + keys.SIDE_KEY_GRACE_S
    return await scripts.LIST_SESSION.run(redis, [keys.INDEX], [member, life, sample])


async def drop_lease(redis: Redis, session_id: str, epoch: int | None) -> None:
    """Drop the session's lease, or with `epoch` only one that is not newer."""
    newest = 2**53 if epoch is None else epoch
    await scripts.DROP_LEASE.run(redis, [keys.LEASES_EXPIRY, keys.LEASES_HOLDERS], [session_id, newest])


def session_ended(session_id: str) -> ConflictError:
    """Return the error for a session that is over."""
    return ConflictError("session_ended", f"{session_id} has ended; create a new session.")


def flatten(fields: Mapping[str, str]) -> list[str]:
    """Return names and values in turns."""
    return [text for pair in fields.items() for text in pair]


def _checked(cursor: str) -> str:
    created, _, session_id = cursor.partition(":")
    if cursor and not (created.isdecimal() and created.isascii() and session_id and len(cursor) < 100):
        raise InvalidRequestError("invalid_cursor", "The cursor must be the next_cursor of an earlier page.")
    return cursor


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
