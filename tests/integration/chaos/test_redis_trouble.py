"""Redis gone, restarted, or slow: the workers keep talking, and every effect happens once."""

from __future__ import annotations

import asyncio
import signal

import pytest

from shared.session.log import Attached, ToolStatus, UserTurn
from shared.store.keys import LEASES_EXPIRY
from tests.integration.chaos.callers import TOOL_OF, Caller
from tests.integration.chaos.fleet import LEASE_TTL_S, Call, Fleet, Worker
from tests.integration.chaos.story import Ledger, attached_after, check_conversation, check_log, outcomes
from tests.support.eventually import eventually
from tests.support.tcp_proxy import TcpProxy

REDIS_AWAY_S = 10.0

pytestmark = pytest.mark.timeout(120)


async def calling(fleet: Fleet, count: int, requests: tuple[str, ...]) -> list[Caller]:
    """Start calls; each has had one request answered."""
    calls = await asyncio.gather(*(fleet.place_call_directly() for _ in range(count)))
    callers = [Caller(fleet=fleet, call=call, number=n, requests=requests) for n, call in enumerate(calls)]
    await asyncio.gather(*(caller.ask(requests[0]) for caller in callers))
    return callers


def attached(fleet: Fleet, call: Call) -> list[tuple[str, int]]:
    """Return who attached to the call, and under which epoch, in order."""
    logged = fleet.logs.entries[call.session_id]
    return [(one.entry.worker, one.epoch) for one in logged if isinstance(one.entry, Attached)]


async def all_is_well(fleet: Fleet, callers: list[Caller], *, unknown_allowed: bool = False) -> None:
    """Assert that log, conversation and ledger agree about every request."""

    def every_outcome_is_there() -> bool:
        return all(
            len(outcomes(fleet.logs.entries[caller.call.session_id])) == len(caller.orders)
            for caller in callers
        )

    await eventually(every_outcome_is_there, within=30, what="every request has its outcome")
    ledger = Ledger.read(fleet.ledger)
    for caller in callers:
        session_id = caller.call.session_id
        logged = fleet.logs.entries[session_id]
        check_log(session_id, logged)
        check_conversation(session_id, await fleet.items(caller.call), logged)
        had = outcomes(logged)
        for order, request in caller.orders.items():
            outcome = had[TOOL_OF[request], order]
            ledger.check(TOOL_OF[request], order, outcome)
            assert unknown_allowed or outcome.status is ToolStatus.OK, (session_id, outcome)


async def leases_are_valid(fleet: Fleet, callers: list[Caller]) -> None:
    async def valid() -> bool:
        seconds, _ = await fleet.redis.time()
        scores = [await fleet.redis.zscore(LEASES_EXPIRY, caller.call.session_id) for caller in callers]
        return all(score is not None and score / 1000 > seconds for score in scores)

    await eventually(valid, what="every lease is valid")


async def run_begun(fleet: Fleet, tool: str, order: str) -> None:
    await eventually(lambda: (tool, order) in Ledger.read(fleet.ledger).runs, what=f"{tool} {order} runs")


async def test_redis_is_gone_for_ten_seconds(fleet: Fleet) -> None:
    worker = await fleet.start_worker()
    callers = await calling(fleet, 4, ("look up", "charge"))
    before = [attached(fleet, caller.call) for caller in callers]
    heard_before = [await fleet.listeners(caller.call) for caller in callers]
    orders = [await caller.say("charge") for caller in callers]
    for order in orders:
        await run_begun(fleet, "charge", order)
    await fleet.redis_line.cut()
    over_at = asyncio.get_running_loop().time() + REDIS_AWAY_S

    async def told_so() -> bool:
        status, body = await fleet.probe(worker, "/ready")
        return status == 503 and body["status"] == "redis_unavailable"

    await eventually(told_so, what="/ready says that Redis is gone")
    assert (await fleet.probe(worker, "/health"))[0] == 200
    await asyncio.sleep(over_at - asyncio.get_running_loop().time())
    assert [await fleet.listeners(caller.call) for caller in callers] == heard_before
    await fleet.redis_line.mend()
    await asyncio.gather(*(caller.hear(order) for caller, order in zip(callers, orders, strict=True)))
    await asyncio.gather(*(caller.ask("look up") for caller in callers))
    assert [attached(fleet, caller.call) for caller in callers] == before
    for caller in callers:
        turns = [one for one in fleet.logs.entries[caller.call.session_id] if isinstance(one.entry, UserTurn)]
        assert len(turns) == len(caller.orders)
    await leases_are_valid(fleet, callers)
    await all_is_well(fleet, callers)
    assert (await fleet.probe(worker, "/ready"))[0] == 200


async def test_redis_is_killed_and_comes_back_with_its_append_only_file(fleet: Fleet) -> None:
    await fleet.start_workers(2)
    callers = await calling(fleet, 6, ("look up", "charge"))
    orders = [await caller.say("charge") for caller in callers]
    for order in orders:
        await run_begun(fleet, "charge", order)
    recorded = {
        caller.call.session_id: list(fleet.logs.entries[caller.call.session_id]) for caller in callers
    }
    epochs = [attached(fleet, caller.call) for caller in callers]
    fleet.redis_server.process.send_signal(signal.SIGKILL)
    await fleet.redis_server.process.wait()
    await fleet.start_redis()
    await asyncio.gather(*(caller.hear(order) for caller, order in zip(callers, orders, strict=True)))
    await asyncio.gather(*(caller.ask("look up") for caller in callers))
    for session_id, entries in recorded.items():
        assert fleet.logs.entries[session_id][: len(entries)] == entries
    assert [attached(fleet, caller.call) for caller in callers] == epochs
    await leases_are_valid(fleet, callers)
    await all_is_well(fleet, callers)


async def test_redis_is_slow(fleet: Fleet) -> None:
    usual = {"LEASE_TTL_S": "6", "LEASE_RENEW_S": "2"}  # the settings' defaults
    await asyncio.gather(*(fleet.start_worker(**usual) for _ in range(2)))
    callers = await calling(fleet, 6, ("look up", "charge"))
    before = [attached(fleet, caller.call) for caller in callers]
    fleet.redis_line.delay_s = 0.5
    for request in ("charge", "look up"):
        await asyncio.gather(*(caller.ask(request) for caller in callers))
    assert [attached(fleet, caller.call) for caller in callers] == before
    await leases_are_valid(fleet, callers)
    fleet.redis_line.delay_s = 0.0
    await all_is_well(fleet, callers)


async def test_a_worker_that_alone_is_cut_off_from_redis_loses_its_calls_and_acts_no_more(
    fleet: Fleet,
) -> None:
    async with TcpProxy(fleet.redis_port) as own_line:
        cut_off = await fleet.start_worker(redis_line=own_line)
        callers = await calling(fleet, 4, ("look up", "charge"))
        await fleet.start_worker()
        held = await fleet.owned(cut_off, [caller.call for caller in callers])
        assert len(held) == len(callers)
        await own_line.cut()
        # Both hear these: the one that is cut off must not act on them when it is back.
        orders = [await caller.say("charge") for caller in callers]
        logs = fleet.logs

        def taken_over() -> bool:
            return all(attached_after(logs.entries[session], epoch) for session, epoch in held.items())

        await logs.wait(taken_over, within=LEASE_TTL_S + 10, what="the other worker took the calls over")
        await asyncio.gather(*(caller.hear(order) for caller, order in zip(callers, orders, strict=True)))
        assert [await fleet.listeners(caller.call) for caller in callers] == [2] * len(callers)
        await own_line.mend()
        await lets_go(fleet, cut_off, callers)
        await asyncio.gather(*(caller.ask("look up") for caller in callers))
        await all_is_well(fleet, callers, unknown_allowed=True)


async def lets_go(fleet: Fleet, worker: Worker, callers: list[Caller]) -> None:
    """Wait until a worker holds nothing any more, and each call has the one sideband of its owner."""

    async def let_go() -> bool:
        return (await fleet.probe(worker, "/ready"))[1]["sessions"] == 0

    async def one_sideband_each() -> bool:
        return [await fleet.listeners(caller.call) for caller in callers] == [1] * len(callers)

    await eventually(let_go, within=15, what="the old owner holds nothing")
    await eventually(one_sideband_each, within=15, what="the old owner has closed its sidebands")
