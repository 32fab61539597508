"""Approvals: asked for once, decided once, listed while they are pending."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import msgspec
from redis.asyncio import Redis

from shared.errors import ConflictError, GoneError, InvalidRequestError, NotFoundError
from shared.session.approvals import ApprovalRecord
from shared.session.log import ApprovalRequested, ApprovalState, LoggedEntry
from shared.store.approval_scripts import ASK, DECIDE, SETTLE
from shared.store.connection import answered
from shared.store.keys import APPROVALS_PENDING, QUEUES_TTL_S, approval_key

# More than a person looks at; listing goes on with the next page.
MAX_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class ApprovalPage:
    """The oldest approvals first. `next_cursor`: "" when there are no more."""

    approvals: tuple[ApprovalRecord, ...]
    next_cursor: str


class Approvals:
    """The approvals of all sessions.

    retention_s: how long one is kept after it can't be decided any more.
    """

    def __init__(self, redis: Redis, *, retention_s: int) -> None:
        self._redis = redis
        self._retention_s = retention_s

    async def ask(self, request: ApprovalRecord, open_s: float) -> ApprovalRecord:
        """Ask for an approval and return it as it is kept; one that was asked for before stays as it is.

        open_s: how long it can be decided, in seconds. The times of `request` are not used.
        """
        fields = {
            name: getattr(request, name)
            for name in (
                "approval_id", "session_id", "tool_call_id", "agent", "tool", "question", "arguments",
            )
        }  # fmt: skip
        args: list[str | int] = [
            round(open_s * 1000),
            self._retention_s,
            max(QUEUES_TTL_S, round(open_s) + self._retention_s),
            request.approval_id,
            *(text for pair in fields.items() for text in pair),
        ]
        await ASK.run(self._redis, self._keys(request.approval_id), args)
        return await self.get(request.approval_id)

    async def get(self, approval_id: str) -> ApprovalRecord:
        """Return an approval. Raises NotFoundError `approval_not_found`."""
        found = await answered(self._redis.hgetall(approval_key(approval_id)))
        record = _record(cast("Mapping[str, str]", found))
        if record is None:
            raise _not_found(approval_id)
        return record

    async def decide(self, approval_id: str, *, approve: bool, by: str, comment: str) -> ApprovalRecord:
        """Decide a pending approval and return it.

        Raises NotFoundError `approval_not_found`, ConflictError `approval_decided`, GoneError
        `approval_expired` or `approval_withdrawn`.
        """
        state = ApprovalState.APPROVED if approve else ApprovalState.REJECTED
        status, *was = await DECIDE.run(self._redis, self._keys(approval_id), [state.value, by, comment])
        if status == "missing":
            raise _not_found(approval_id)
        if status == "closed":
            match ApprovalState(was[0]):
                case ApprovalState.EXPIRED:
                    raise GoneError("approval_expired", "Nobody decided in time; the caller has been told.")
                case ApprovalState.WITHDRAWN:
                    raise GoneError("approval_withdrawn", "The call ended before anybody had decided.")
                case _:
                    raise ConflictError("approval_decided", f"This approval is {was[0]} already.")
        return await self.get(approval_id)

    async def settle(self, approval_id: str, *, withdraw: bool) -> ApprovalRecord | None:
        """Return the approval as it is now, expired if its time is over; None when it is gone.

        withdraw: nobody may decide it any more, if nobody has.
        """
        (state,) = await SETTLE.run(self._redis, self._keys(approval_id), ["1" if withdraw else ""])
        if state == "missing":
            return None
        try:
            return await self.get(approval_id)
        except NotFoundError:
            return None

    async def pending(self, limit: int, cursor: str = "") -> ApprovalPage:
        """Return up to `limit` approvals that can be decided, the oldest request first.

        cursor: `next_cursor` of the page before. Raises InvalidRequestError `invalid_cursor`.
        """
        if cursor and not _is_member(cursor):
            raise InvalidRequestError("invalid_cursor", "The cursor must be `next` of an earlier page.")
        found: list[ApprovalRecord] = []
        after = cursor
        while len(found) < limit:
            least = f"({after}" if after else "-"
            members = cast(
                "list[str]",
                await answered(self._redis.zrangebylex(APPROVALS_PENDING, least, "+", 0, limit - len(found))),
            )
            if not members:
                return ApprovalPage(approvals=tuple(found), next_cursor="")
            after = members[-1]
            found += await self._open_ones(members)
        return ApprovalPage(approvals=tuple(found), next_cursor=after)

    async def erase(self, approval_ids: Iterable[str]) -> None:
        """Erase approvals, decided or not."""
        for approval_id in approval_ids:
            key = approval_key(approval_id)
            member = await answered(self._redis.hget(key, "member"))
            await answered(self._redis.delete(key))
            if member:
                await answered(self._redis.zrem(APPROVALS_PENDING, cast("str", member)))

    async def _open_ones(self, members: list[str]) -> list[ApprovalRecord]:
        """Return those of the listed approvals that can be decided; the others leave the list."""
        records: list[ApprovalRecord] = []
        for member in members:
            record = await self.settle(member.partition(":")[2], withdraw=False)
            if record is None:
                await answered(self._redis.zrem(APPROVALS_PENDING, member))
            elif record.state is ApprovalState.PENDING:
                records.append(record)
        return records

    def _keys(self, approval_id: str) -> tuple[str, str]:
        return approval_key(approval_id), APPROVALS_PENDING


def approvals_in(entries: Iterable[LoggedEntry]) -> list[str]:
    """Return the ids of the approvals that a session's log tells of."""
    return [logged.entry.approval_id for logged in entries if isinstance(logged.entry, ApprovalRequested)]


def _record(fields: Mapping[str, str]) -> ApprovalRecord | None:
    if not fields:
        return None
    return msgspec.convert(fields, ApprovalRecord, strict=False)


def _is_member(text: str) -> bool:
    requested, _, approval_id = text.partition(":")
    return len(text) <= 64 and requested.isdecimal() and approval_id.startswith("apr_")


def _not_found(approval_id: str) -> NotFoundError:
    return NotFoundError("approval_not_found", f"There is no approval {approval_id}, or not any more.")
