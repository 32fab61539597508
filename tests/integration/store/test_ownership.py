from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from shared.errors import ConflictError, FencedError, InvalidRequestError, NotFoundError
from shared.session.log import Attached, ToolExecution, ToolMadeDurable
from shared.session.model import Session, SessionState, Usage
from shared.store.event_log import MAX_ENTRY_BYTES, EventLog
from shared.store.keys import LEASES_EXPIRY, LEASES_HOLDERS
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from tests.integration.store.examples import (
    RETENTION_S,
    a_move,
    a_stored_session,
    a_turn,
    an_owned_session,
    tool_called,
    tool_finished,
)
from tests.support.eventually import eventually


@pytest.fixture
def ownership(redis_client: Redis) -> Ownership:
    return Ownership(redis_client, lease_ttl_s=30)


async def _get(redis: Redis, session_id: str) -> Session:
    return await SessionStore(redis, retention_s=RETENTION_S).get(session_id)


async def _lapse(redis: Redis, session_id: str) -> None:
    """Let the session's lease have expired a moment ago."""
    await redis.zadd(LEASES_EXPIRY, {session_id: 1}, xx=True)


async def _lose_the_leases(redis: Redis) -> None:
    await redis.delete(LEASES_EXPIRY, LEASES_HOLDERS)


async def test_one_worker_owns_a_session_until_its_lease_lapses(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id = await a_stored_session(redis_client)
    first = await ownership.acquire(session_id, "w1")
    assert await ownership.acquire(session_id, "w2") is None
    session = await _get(redis_client, session_id)
    assert (session.owner, session.epoch) == ("w1", first)
    await _lapse(redis_client, session_id)
    second = await ownership.acquire(session_id, "w2")
    assert first is not None
    assert second is not None
    assert second > first
    assert (await _get(redis_client, session_id)).owner == "w2"


async def test_a_lease_lapses_by_time_alone(redis_client: Redis) -> None:
    session_id = await a_stored_session(redis_client)
    short = Ownership(redis_client, lease_ttl_s=0.001)
    assert await short.acquire(session_id, "w1") == 1
    await eventually(lambda: short.lapsed(10), what="the lease lapses")
    assert await short.acquire(session_id, "w2") == 2


async def test_of_many_workers_that_want_a_session_at_once_one_gets_it(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id = await a_stored_session(redis_client)
    epochs = await asyncio.gather(*(ownership.acquire(session_id, f"w{n}") for n in range(20)))
    (winner,) = [n for n, epoch in enumerate(epochs) if epoch is not None]
    session = await _get(redis_client, session_id)
    assert (session.owner, session.epoch) == (f"w{winner}", epochs[winner])


async def test_a_worker_that_acquires_its_own_session_again_fences_its_former_self(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, first = await an_owned_session(redis_client, "w1")
    second = await ownership.acquire(session_id, "w1")
    assert second is not None
    assert second > first
    with pytest.raises(FencedError):
        await ownership.commit(session_id, first, entries=[a_turn()])
    await ownership.commit(session_id, second, entries=[a_turn()])
    assert await ownership.renew("w1", {session_id: first}) == {session_id}


async def test_after_a_takeover_the_former_owner_can_do_nothing(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, old = await an_owned_session(redis_client, "w1")
    await _lapse(redis_client, session_id)
    new = await ownership.acquire(session_id, "w2")
    assert new is not None
    before = await redis_client.dump(f"{{{session_id}}}:record")
    with pytest.raises(FencedError) as caught:
        await ownership.commit(
            session_id,
            old,
            entries=[a_turn()],
            state=SessionState.ENDED,
            usage=Usage(responses=9),
            inbox_cursor="9-9",
        )
    assert (caught.value.session_id, caught.value.epoch) == (session_id, old)
    await ownership.release(session_id, old)
    assert await ownership.renew("w1", {session_id: old}) == {session_id}
    assert await redis_client.dump(f"{{{session_id}}}:record") == before
    assert await ownership.acquire(session_id, "w3") is None
    assert await ownership.renew("w2", {session_id: new}) == set()


async def test_an_epoch_that_never_was_writes_nothing(ownership: Ownership, redis_client: Redis) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    for wrong in (0, epoch - 1, epoch + 1, -1):
        with pytest.raises(FencedError):
            await ownership.commit(session_id, wrong, entries=[a_turn()])
    unowned = await a_stored_session(redis_client)
    with pytest.raises(FencedError):
        await ownership.commit(unowned, 0, entries=[a_turn()])
    assert len(await EventLog(redis_client).read_all(unowned)) == 1


async def test_release_frees_the_session_at_once_and_ends_the_right_to_write(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, first = await an_owned_session(redis_client, "w1")
    await ownership.release(session_id, first)
    with pytest.raises(FencedError):
        await ownership.commit(session_id, first, entries=[a_turn()])
    assert await ownership.renew("w1", {session_id: first}) == {session_id}
    assert await ownership.lapsed(10) == []
    second = await ownership.acquire(session_id, "w2")
    assert second is not None
    assert second > first
    await ownership.release(session_id, first)  # late, and too old to matter
    await ownership.commit(session_id, second, entries=[a_turn()])


async def test_renewal_keeps_what_is_held_and_tells_what_is_lost(
    ownership: Ownership, redis_client: Redis
) -> None:
    held = dict([await an_owned_session(redis_client, "w1") for _ in range(5)])
    taken, ended, kept, lapsed, erased = held
    store = SessionStore(redis_client, retention_s=RETENTION_S)
    await _lapse(redis_client, taken)
    await ownership.acquire(taken, "w2")
    await store.mark_ended(ended, "idle", 1)
    await _lapse(redis_client, lapsed)
    await store.erase(erased)
    assert await ownership.renew("w1", held) == {taken, ended, erased}
    assert await ownership.lapsed(10) == []
    assert await ownership.acquire(kept, "w3") is None
    assert await ownership.acquire(lapsed, "w3") is None
    assert await ownership.renew("w1", {}) == set()


async def test_renewal_of_many_sessions_is_one_command(redis_client: Redis) -> None:
    held = dict([await an_owned_session(redis_client, "w1") for _ in range(100)])
    ownership = Ownership(redis_client, lease_ttl_s=30)
    await ownership.renew("w1", held)  # Redis learns the script
    await redis_client.config_resetstat()
    assert await ownership.renew("w1", held) == set()
    stats = await redis_client.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1
    assert stats["cmdstat_zadd"]["calls"] == 100


async def test_leases_that_get_lost_are_put_back_by_their_owners_and_by_nobody_else(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, old = await an_owned_session(redis_client, "w1")
    await _lapse(redis_client, session_id)
    new = await ownership.acquire(session_id, "w2")
    assert new is not None
    await _lose_the_leases(redis_client)
    assert await ownership.renew("w1", {session_id: old}) == {session_id}
    assert await ownership.renew("w2", {session_id: new}) == set()
    assert await ownership.acquire(session_id, "w3") is None


async def test_epochs_rise_even_when_the_leases_get_lost(ownership: Ownership, redis_client: Redis) -> None:
    session_id = await a_stored_session(redis_client)
    epochs: list[int] = []
    for n in range(6):
        epoch = await ownership.acquire(session_id, f"w{n}")
        assert epoch is not None
        epochs.append(epoch)
        await _lose_the_leases(redis_client)
    assert epochs == sorted(set(epochs))


async def test_lapsed_sessions_are_found_the_longest_lapsed_first(
    ownership: Ownership, redis_client: Redis
) -> None:
    sessions = [(await an_owned_session(redis_client, "w1"))[0] for _ in range(4)]
    for age, session_id in enumerate(sessions[:3]):
        await redis_client.zadd(LEASES_EXPIRY, {session_id: 100 - age})
    assert await ownership.lapsed(10) == [sessions[2], sessions[1], sessions[0]]
    assert await ownership.lapsed(2) == [sessions[2], sessions[1]]


async def test_a_lapsed_lease_of_a_session_that_is_over_is_cleared(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, epoch = await an_owned_session(redis_client, "w1")
    await ownership.commit(session_id, epoch, state=SessionState.ENDED, reason="agent_ended")
    await _lapse(redis_client, session_id)
    assert await ownership.lapsed(5) == [session_id]
    with pytest.raises(ConflictError, match="session_ended"):
        await ownership.acquire(session_id, "w2")
    assert await ownership.lapsed(5) == []
    gone, _ = await an_owned_session(redis_client, "w1")
    await redis_client.delete(f"{{{gone}}}:record")
    await _lapse(redis_client, gone)
    with pytest.raises(NotFoundError):
        await ownership.acquire(gone, "w2")
    assert await ownership.lapsed(5) == []


async def test_a_commit_writes_everything_it_is_given(ownership: Ownership, redis_client: Redis) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    attached = Attached(worker="w1", epoch=epoch, call_id="rtc_1", took_ms=5.0, at_ms=111)
    ids = await ownership.commit(
        session_id,
        epoch,
        entries=[attached, a_move(SessionState.ACTIVE, at_ms=112), a_turn()],
        state=SessionState.ACTIVE,
        usage=Usage(responses=2, input_tokens=30, cached_tokens=20, output_tokens=10),
        inbox_cursor="17-3",
    )
    session = await _get(redis_client, session_id)
    assert session.state is SessionState.ACTIVE
    assert session.connected_at_ms == 111
    assert session.usage == Usage(responses=2, input_tokens=30, cached_tokens=20, output_tokens=10)
    assert session.inbox_cursor == "17-3"
    logged = (await EventLog(redis_client).read_all(session_id))[1:]
    assert [entry.entry_id for entry in logged] == ids
    assert {entry.epoch for entry in logged} == {epoch}

    await ownership.commit(
        session_id,
        epoch,
        entries=[a_move(SessionState.ACTIVE, at_ms=500)],
        state=SessionState.ACTIVE,
    )
    assert (await _get(redis_client, session_id)).connected_at_ms == 111

    await ownership.commit(
        session_id,
        epoch,
        entries=[a_move(SessionState.ENDED, at_ms=900), a_turn("late", at_ms=950)],
        state=SessionState.ENDED,
        reason="caller_hung_up",
    )
    session = await _get(redis_client, session_id)
    assert (session.state, session.ended_at_ms, session.end_reason) == (
        SessionState.ENDED,
        900,
        "caller_hung_up",
    )
    assert session.usage.responses == 2
    assert session.inbox_cursor == "17-3"


async def test_the_owner_may_still_write_what_comes_late_after_it_has_ended_the_session(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    await ownership.commit(session_id, epoch, state=SessionState.ENDED, reason="agent_ended")
    assert await ownership.commit(session_id, epoch, entries=[a_turn("late transcript")])
    assert (await _get(redis_client, session_id)).ended_at_ms > 1_700_000_000_000


async def test_a_session_never_moves_back(ownership: Ownership, redis_client: Redis) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    await ownership.commit(session_id, epoch, state=SessionState.ENDED, reason="agent_ended")
    with pytest.raises(ConflictError, match="session_moves_forward"):
        await ownership.commit(session_id, epoch, entries=[a_turn()], state=SessionState.ACTIVE)
    assert len(await EventLog(redis_client).read_all(session_id)) == 1
    with pytest.raises(ValueError, match="archived"):
        await ownership.commit(session_id, epoch, state=SessionState.ARCHIVED)


async def test_a_tool_call_is_answered_once_whoever_answers_it(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, first = await an_owned_session(redis_client, "w1")
    a, b, c = tool_called("c1"), tool_called("c2"), tool_called("c3")
    ids = await ownership.commit(session_id, first, entries=[a, b, tool_finished("c1"), tool_finished("c1")])
    assert [bool(i) for i in ids] == [True, True, True, False]
    assert await ownership.unanswered_tools(session_id) == [b]
    await _lapse(redis_client, session_id)
    second = await ownership.acquire(session_id, "w2")
    assert second is not None
    ids = await ownership.commit(session_id, second, entries=[a, tool_finished("c1"), c, b])
    assert [bool(i) for i in ids] == [False, False, True, False]
    assert await ownership.unanswered_tools(session_id) == [b, c]
    await ownership.commit(session_id, second, entries=[tool_finished("c3"), tool_finished("c2")])
    assert await ownership.unanswered_tools(session_id) == []
    names = [type(logged.entry).__name__ for logged in await EventLog(redis_client).read_all(session_id)]
    assert (names.count("ToolCalled"), names.count("ToolFinished")) == (3, 3)


async def test_a_call_that_became_durable_is_so_for_whoever_owns_the_session_next(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, epoch = await an_owned_session(redis_client, "w1")
    quoting = '{"execution":"inline","said":"\\"execution\\":\\"inline\\""}'
    open_call, answered = tool_called("c1", arguments=quoting), tool_called("c2")
    durable = [
        ToolMadeDurable(tool_call_id=call, name="claim_status", at_ms=35) for call in ("c1", "c2", "c3")
    ]
    await ownership.commit(session_id, epoch, entries=[open_call, answered, tool_finished("c2")])
    ids = await ownership.commit(session_id, epoch, entries=durable)
    assert [bool(i) for i in ids] == [True, False, False], "the others are answered, or unknown"
    as_durable = replace(open_call, execution=ToolExecution.DURABLE)
    assert await ownership.unanswered_tools(session_id) == [as_durable]
    logged = [line.entry for line in await EventLog(redis_client).read_all(session_id)]
    assert logged[-1] == durable[0]
    await ownership.commit(session_id, epoch, entries=[tool_finished("c1")])
    assert await ownership.unanswered_tools(session_id) == []


async def test_tool_call_ids_and_arguments_may_hold_any_text(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    odd = [tool_called(call, arguments='{"a": "\\n = ? "}') for call in ("c 1", "=?", "ünï", "c\nd", "")]
    ids = await ownership.commit(session_id, epoch, entries=odd)
    assert all(ids)
    assert await ownership.unanswered_tools(session_id) == odd
    await ownership.commit(session_id, epoch, entries=[tool_finished("c 1"), tool_finished("c\nd")])
    assert await ownership.unanswered_tools(session_id) == [odd[1], odd[2], odd[4]]


async def test_an_entry_that_is_too_large_stops_the_whole_commit(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    with pytest.raises(InvalidRequestError, match="entry_too_large"):
        await ownership.commit(
            session_id,
            epoch,
            entries=[tool_called("c1"), tool_finished("c1", "x" * MAX_ENTRY_BYTES)],
            inbox_cursor="5-5",
        )
    assert await ownership.unanswered_tools(session_id) == []
    assert (await _get(redis_client, session_id)).inbox_cursor == "0-0"


async def test_a_large_batch_is_one_commit(ownership: Ownership, redis_client: Redis) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    ids = await ownership.commit(session_id, epoch, entries=[a_turn(str(n)) for n in range(2000)])
    assert len(set(ids)) == 2000
    assert len(await EventLog(redis_client).read_all(session_id)) == 2001


async def test_a_commit_that_is_repeated_under_its_id_is_written_once(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    first = await ownership.commit(session_id, epoch, entries=[a_turn()], commit_id="1.1")
    again = await ownership.commit(session_id, epoch, entries=[a_turn()], commit_id="1.1")
    assert first == again
    other = await ownership.commit(session_id, epoch, entries=[a_turn()], commit_id="1.2")
    assert other != first


async def test_answered_tools_are_told_apart_from_unanswered_ones(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, epoch = await an_owned_session(redis_client)
    await ownership.commit(
        session_id, epoch, entries=[tool_called("c1"), tool_called("c2"), tool_finished("c1")]
    )
    assert await ownership.answered_tools(session_id) == {"c1": '{"ok":true}'}
    assert await ownership.answered_tools(session_id, outputs=0) == {"c1": ""}
    assert [called.tool_call_id for called in await ownership.unanswered_tools(session_id)] == ["c2"]


async def test_a_session_that_is_handed_over_is_found_at_once_and_its_former_owner_cannot_hold_it_back(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, epoch = await an_owned_session(redis_client, "w1")
    await ownership.hand_over(session_id, epoch)
    assert await ownership.renew("w1", {session_id: epoch}) == {session_id}
    assert await ownership.lapsed(5) == [session_id]
    with pytest.raises(FencedError):
        await ownership.commit(session_id, epoch, entries=[a_turn()])
    newer = await ownership.acquire(session_id, "w2")
    assert newer is not None
    assert newer > epoch
    await ownership.hand_over(session_id, epoch)  # late, and too old to matter
    assert await ownership.lapsed(5) == []
    assert await ownership.commit(session_id, newer, entries=[a_turn()])


async def test_commit_ids_of_different_owners_and_odd_ones_do_not_meet(
    ownership: Ownership, redis_client: Redis
) -> None:
    session_id, first = await an_owned_session(redis_client, "w1")
    ids = [
        *await ownership.commit(session_id, first, entries=[a_turn()], commit_id="1"),
        *await ownership.commit(session_id, first, entries=[a_turn()], commit_id="#0"),
        *await ownership.commit(session_id, first, entries=[a_turn()], commit_id="#count"),
    ]
    second = await ownership.acquire(session_id, "w1")
    assert second is not None
    ids += await ownership.commit(session_id, second, entries=[a_turn()], commit_id="1")
    assert len(set(ids)) == len(await EventLog(redis_client).read_all(session_id)) - 1 == 4
