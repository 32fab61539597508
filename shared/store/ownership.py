"""Who owns a session: leases that lapse, epochs that only rise, and the owner's fenced writes.

A lease says who should be working on a session and lapses when its worker dies. It is no
protection: a worker that was only slow would go on writing. The record's epoch is the
protection. Taking a session over raises it, `commit` writes only under exactly that epoch,
and both happen inside Redis; so of two workers that both believe they own a session, one
can write. If the leases get lost altogether, owners put them back at their next renewal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from redis.asyncio import Redis

from shared.errors import ConflictError, FencedError
from shared.session.codec import LOG
from shared.session.log import Attached, LogEntry, StateChanged, ToolCalled, ToolFinished
from shared.session.model import SessionState, Standing, Usage
from shared.store import keys, scripts
from shared.store.command_pipe import CommandPipe
from shared.store.connection import answered
from shared.store.event_log import entry_args, ids_of, session_not_found
from shared.store.keys import SessionKeys
from shared.store.record import standing_text
from shared.store.script import nonce
from shared.store.sessions import drop_lease, session_ended

# Renewing a lease keeps Redis busy for some 20 µs; no commit of a call should wait for those of all others.
_RENEWED_AT_ONCE = 100
_LEASE_KEYS = (keys.LEASES_EXPIRY, keys.LEASES_HOLDERS)
WANTED = "wanted "
"""Begins a wake-up that tells a worker that another one wants the session named after it."""

_OWNER_STATES = frozenset({SessionState.CONNECTING, SessionState.ACTIVE, SessionState.ENDED})


class Ownership:
    """Leases of sessions and the writes that they allow.

    lease_ttl_s: a lease's life without renewal.
    commits_through: a faster way for commits and renewals; whoever gives it closes it.
    """

    def __init__(
        self, redis: Redis, *, lease_ttl_s: float, commits_through: CommandPipe | None = None
    ) -> None:
        self._redis = redis
        self._pipe = commits_through or redis
        self._lease_ms = max(1, round(lease_ttl_s * 1000))

    async def acquire(self, session_id: str, worker: str) -> int | None:
        """Make `worker` the owner and return its epoch, or None while another's lease holds.

        A worker that holds the lease itself gets a new epoch; the old one is fenced.
        Raises NotFoundError `session_not_found`, ConflictError `session_ended`.
        """
        told = await answered(self._redis.hmget(SessionKeys(session_id).record, ("state", "epoch")))
        state, seen = cast("list[str | None]", told)
        if state is None or seen is None:
            await drop_lease(self._redis, session_id, None)
            raise session_not_found(session_id)
        if state in (SessionState.ENDED, SessionState.ARCHIVED):
            await drop_lease(self._redis, session_id, None)
            raise session_ended(session_id)
        args = [session_id, worker, self._lease_ms, seen, keys.LEASES_TTL_S]
        status, *granted = await scripts.TAKE_LEASE.run(self._redis, _LEASE_KEYS, args)
        if status == "held":
            return None
        epoch = int(granted[0])
        (status,) = await scripts.FENCE.run(
            self._redis, SessionKeys(session_id).all, [nonce(), epoch, worker]
        )
        if status == "ok":
            return epoch
        await drop_lease(self._redis, session_id, epoch)
        match status:
            case "missing":
                raise session_not_found(session_id)
            case "ended":
                raise session_ended(session_id)
            case _:  # raced: somebody else became the owner in between
                return None

    async def renew(self, worker: str, held: Mapping[str, int]) -> set[str]:
        """Renew the leases of the sessions that `worker` holds (session id to epoch), a hundred a command.

        Returns the sessions that it has lost and must stop working on.
        """
        lost: set[str] = set()
        names = list(held)
        for first in range(0, len(names), _RENEWED_AT_ONCE):
            some = names[first : first + _RENEWED_AT_ONCE]
            pairs = [text for session_id in some for text in (session_id, str(held[session_id]))]
            args = [worker, self._lease_ms, keys.LEASES_TTL_S, *pairs]
            told = await scripts.RENEW_LEASES.run(self._pipe, _LEASE_KEYS, args)
            for session_id, problem in zip(told[::2], told[1::2], strict=True):
                if problem == "lost" or not await self._restore(session_id, worker, held[session_id]):
                    lost.add(session_id)
        return lost

    async def release(self, session_id: str, epoch: int) -> None:
        """Give the session up: no writes under `epoch` any more, no lease; harmless when already lost."""
        await scripts.DISOWN.run(self._redis, SessionKeys(session_id).all, [epoch])
        await drop_lease(self._redis, session_id, epoch)

    async def hand_over(self, session_id: str, epoch: int) -> None:
        """Give the session up to whoever takes it next: no writes under `epoch` any more, and its lease
        lapses now. So it is found by `lapsed` even if the one who gives it up dies before he has queued it.
        """
        await scripts.DISOWN.run(self._redis, SessionKeys(session_id).all, [epoch])
        await scripts.LAPSE_LEASE.run(self._redis, _LEASE_KEYS, [session_id, epoch])

    async def ask_for(self, session_id: str, worker: str) -> None:
        """Ask the session's holder to let `worker` have it; where no such process listens, its lease lapses
        now. Whether and when the holder complies, `acquire` tells."""
        told = await answered(self._redis.hget(keys.LEASES_HOLDERS, session_id))
        epoch, _, holder = cast("str", told or "").partition(" ")
        if not holder or holder == worker:
            return
        wanted = WANTED + session_id
        if not await answered(self._redis.publish(keys.wake_channel(holder), wanted)):
            await self.hand_over(session_id, int(epoch))

    async def taken_over(self, given_up: Mapping[str, int]) -> set[str]:
        """Return those of the sessions (session id to the epoch of the one who gives it up) that have a
        newer owner, or need none because they are over."""
        if not given_up:
            return set()
        told = await answered(self._redis.hmget(keys.LEASES_HOLDERS, list(given_up)))
        taken: set[str] = set()
        for (session_id, epoch), holder in zip(given_up.items(), cast("list[str | None]", told), strict=True):
            newer, _, worker = (holder or "").partition(" ")
            if holder is None or (worker and int(newer) > epoch):
                taken.add(session_id)
        return taken

    async def lapsed(self, limit: int) -> list[str]:
        """Return up to `limit` sessions whose lease has expired, the longest expired first."""
        return await scripts.LAPSED_LEASES.run(self._redis, _LEASE_KEYS, [limit])

    async def count(self) -> int:
        """Return how many leases there are, lapsed ones that nobody has taken over included."""
        return await answered(self._redis.zcard(keys.LEASES_EXPIRY))

    async def commit(
        self,
        session_id: str,
        epoch: int,
        *,
        entries: Sequence[LogEntry] = (),
        state: SessionState | None = None,
        reason: str = "",
        usage: Usage | None = None,
        inbox_cursor: str | None = None,
        standing: Standing | None = None,
        commit_id: str = "",
    ) -> list[str]:
        """Write as the owner, all or nothing, in one call; return the ids of `entries`.

        A ToolCalled that is already recorded, and a ToolFinished or ToolMadeDurable for a call that
        already has its ToolFinished, are left out, with "" in place of an id: do not run, and do not
        send, that again.

        state: moves the session on (never back), to CONNECTING, ACTIVE or ENDED; give its
            StateChanged in `entries`, whose `at_ms` becomes connected_at_ms or ended_at_ms.
        reason: an EndReason, kept with ENDED.
        usage: the sums so far; they replace what is stored.
        inbox_cursor: the last inbox entry whose effects are recorded with this.
        standing: who speaks now and what is known; it replaces what is stored.
        commit_id: the same for every attempt at the same commit, so that one whose answer was lost is
            not written twice; leave it empty for a commit that is attempted once.

        Raises FencedError when the epoch is not, or no longer, the owner's (also after release,
        the end by the control plane, and erasure); ConflictError `session_moves_forward`;
        InvalidRequestError `entry_too_large`.
        """
        if state is not None and state not in _OWNER_STATES:
            raise ValueError(f"an owner does not move a session to {state.value}")
        args: list[str | int] = [
            f"{epoch}:{commit_id}" if commit_id else nonce(),
            epoch,
            state.value if state else "",
            reason,
            _moment(entries, state),
            inbox_cursor or "",
            _sums(usage) if usage else "",
            standing_text(standing),
            *entry_args(entries),
        ]
        status, *rest = await scripts.COMMIT.run(self._pipe, SessionKeys(session_id).all, args)
        if status == "fenced":
            raise FencedError(session_id, epoch)
        if status == "backwards":
            wanted = state.value if state else ""
            raise ConflictError(
                "session_moves_forward", f"{session_id} is {rest[0]} and cannot become {wanted} again."
            )
        return ids_of(rest[0])

    async def unanswered_tools(self, session_id: str) -> list[ToolCalled]:
        """Return the tool calls without a ToolFinished, in the order of the log."""
        return await unanswered_tools(self._redis, session_id)

    async def answered_tools(self, session_id: str, *, outputs: int = 20) -> dict[str, str]:
        """Return the tool calls that have their ToolFinished, with the outputs of the last `outputs` of
        them; older ones have ""."""
        keys_of = SessionKeys(session_id)
        ledger = cast("Mapping[str, str]", await answered(self._redis.hgetall(keys_of.tools)))
        finished = {call: value[1:] for call, value in ledger.items() if value.startswith("=")}
        found = dict.fromkeys(finished, "")
        latest = sorted(finished, key=lambda call: _order(finished[call]), reverse=True)[:outputs]
        if not latest:
            return found
        async with self._redis.pipeline(transaction=False) as asked:
            for call in latest:
                asked.xrange(keys_of.log, min=finished[call], max=finished[call])
            told = await answered(asked.execute())
        for call, lines in zip(latest, cast("list[list[tuple[str, dict[str, str]]]]", told), strict=True):
            for _, fields in lines:
                entry = LOG.decode(fields["entry"])
                if isinstance(entry, ToolFinished):
                    found[call] = entry.output
        return found

    async def _restore(self, session_id: str, worker: str, epoch: int) -> bool:
        """Put a missing lease back if the record still names this owner."""
        told = await answered(self._redis.hmget(SessionKeys(session_id).record, ("epoch", "owner")))
        if told != [str(epoch), worker]:
            return False
        args = [session_id, worker, self._lease_ms, epoch, keys.LEASES_TTL_S]
        (status,) = await scripts.RESTORE_LEASE.run(self._redis, _LEASE_KEYS, args)
        return status == "ok"


async def unanswered_tools(redis: Redis, session_id: str) -> list[ToolCalled]:
    """Return a session's tool calls without a ToolFinished, in the order of the log; [] when it is gone."""
    ledger = await answered(redis.hgetall(SessionKeys(session_id).tools))
    waiting: list[tuple[tuple[int, int], ToolCalled]] = []
    for value in cast("Mapping[str, str]", ledger).values():
        if not value.startswith("?"):
            continue
        entry_id, _, text = value[1:].partition(" ")
        entry = LOG.decode(text)
        if isinstance(entry, ToolCalled):
            waiting.append((_order(entry_id), entry))
    return [entry for _, entry in sorted(waiting, key=lambda pair: pair[0])]


def _sums(usage: Usage) -> str:
    tokens = f"{usage.input_tokens} {usage.cached_tokens} {usage.output_tokens}"
    return f"{usage.responses} {tokens} {usage.cost_micros}"


def _order(entry_id: str) -> tuple[int, int]:
    """Return what sorts stream ids."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


def _moment(entries: Sequence[LogEntry], state: SessionState | None) -> str:
    """Return when the session moved to `state` as far as `entries` tell, "" to let Redis's clock say."""
    if state is None or not entries:
        return ""
    for entry in entries:
        match entry:
            case StateChanged() if entry.state == state:
                return str(entry.at_ms)
            case Attached() if state is SessionState.ACTIVE:
                return str(entry.at_ms)
            case _:
                pass
    return str(entries[-1].at_ms)
