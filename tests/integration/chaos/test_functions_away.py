"""The Functions app away, and killed in the middle of what it does: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from shared.session.commands import EndCall, ToolResult
from shared.session.jobs import LifecycleEvent, StartDurableTool
from shared.session.log import ToolCalled, ToolStatus
from shared.session.model import EndReason, SessionState
from tests.integration.chaos.callers import Caller
from tests.integration.chaos.fleet import Fleet
from tests.integration.chaos.story import Ledger, check_conversation, check_log, outcomes
from tests.integration.worker.stage import ControlPlaneStandIn
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(120)

CALLS = 5


async def test_what_the_control_plane_must_hear_waits_for_it_and_outlives_the_worker(
    fleet: Fleet, control_plane: ControlPlaneStandIn
) -> None:
    """It refuses connections, then says 503, and is back when the worker that had to tell it is dead."""
    await control_plane.stop()
    first = await fleet.start_worker()
    calls = [await fleet.place_call_directly() for _ in range(CALLS)]
    callers = [Caller(fleet=fleet, call=call, number=n) for n, call in enumerate(calls)]
    for caller in callers:
        await caller.ask("ship")
    for call in calls[1:]:
        await fleet.inbox.put(call.session_id, EndCall(reason=EndReason.OPERATOR_ENDED))

    async def ended() -> bool:
        records = await asyncio.gather(*(fleet.sessions.get(call.session_id) for call in calls[1:]))
        return all(record.state is SessionState.ENDED for record in records)

    await eventually(ended, within=15, what="the sessions have ended without the control plane")
    # Attached and a tool's start for each, and the end of all but one.
    expected = 3 * CALLS - 1

    async def all_wait() -> bool:
        return await fleet.outbox.depth() == expected

    await eventually(all_wait, what="everything waits in the outbox")
    first.signal(signal.SIGKILL)
    await first.ended()
    control_plane.unavailable = True
    await control_plane.start()
    await fleet.start_worker()
    await eventually(
        lambda: control_plane.asked >= expected, within=60, what="it was asked while it said 503"
    )
    assert await fleet.outbox.depth() == expected
    control_plane.unavailable = False

    async def none_wait() -> bool:
        return await fleet.outbox.depth() == 0

    await eventually(none_wait, within=60, what="everything was delivered")
    told = Counter(
        (message.session_id, message.event if isinstance(message, LifecycleEvent) else "start")
        for message in control_plane.taken
    )
    wanted = {(call.session_id, kind) for call in calls for kind in ("attached", "start", "ended")}
    assert set(told) == wanted - {(calls[0].session_id, "ended")}
    assert set(told.values()) == {1}
    await the_one_that_goes_on_gets_its_result(fleet, control_plane, callers[0])


async def the_one_that_goes_on_gets_its_result(
    fleet: Fleet, control_plane: ControlPlaneStandIn, caller: Caller
) -> None:
    """The call outlived the outage and its worker: its tool's result still reaches it, once."""
    session_id = caller.call.session_id
    (start,) = (
        message
        for message in control_plane.taken
        if isinstance(message, StartDurableTool) and message.session_id == session_id
    )
    output = f'{{"order":"{next(iter(caller.orders))}","done":"shipped"}}'
    result = ToolResult(tool_call_id=start.tool_call_id, status=ToolStatus.OK, output=output, duration_ms=1.0)
    await fleet.inbox.put(session_id, result, dedupe=start.tool_call_id)

    async def answered() -> bool:
        items = await fleet.items(caller.call)
        return [item["output"] for item in items if item["type"] == "function_call_output"] == [output]

    await eventually(answered, within=30, what="the model was told the result")
    called = [one for one in fleet.logs.entries[session_id] if isinstance(one.entry, ToolCalled)]
    assert len(called) == 1


async def test_the_functions_app_is_killed_in_mid_orchestration(tmp_path: Path) -> None:
    """Twenty calls with a durable tool each, half of them tools that must not run twice."""
    async with Fleet(tmp_path) as fleet:
        await asyncio.gather(fleet.start_functions(), fleet.start_workers(2))
        calls = await asyncio.gather(*(fleet.place_call() for _ in range(20)))
        requests = [("ship", "refund")[n % 2] for n in range(len(calls))]
        callers = [Caller(fleet=fleet, call=call, number=n) for n, call in enumerate(calls)]
        orders = [await caller.say(request) for caller, request in zip(callers, requests, strict=True)]

        def in_the_middle() -> bool:
            ledger = Ledger.read(fleet.ledger)
            return {tool for tool, _ in set(ledger.runs) - set(ledger.effects)} == {"ship", "refund"}

        await eventually(in_the_middle, within=30, what="tools are running")
        assert fleet.functions is not None
        fleet.functions.process.kill()
        await fleet.functions.process.wait()
        killed = Ledger.read(fleet.ledger)
        cut_off = set(killed.runs) - set(killed.effects)
        await fleet.start_functions()
        # The agent goes on talking meanwhile.
        await asyncio.gather(*(caller.hear(order) for caller, order in zip(callers, orders, strict=True)))
        await asyncio.gather(*(caller.ask("look up") for caller in callers))

        def every_outcome_is_there() -> bool:
            return all(len(outcomes(fleet.logs.entries[call.session_id])) == 2 for call in calls)

        await eventually(every_outcome_is_there, within=45, what="every tool has its outcome")
        ledger = Ledger.read(fleet.ledger)
        for caller, order, request in zip(callers, orders, requests, strict=True):
            logged = fleet.logs.entries[caller.call.session_id]
            outcome = outcomes(logged)[request, order]
            ledger.check(request, order, outcome)
            # What may run once only is uncertain from its note that it begins until its result is recorded.
            assert outcome.status is ToolStatus.OK or request == "refund", outcome
            check_log(caller.call.session_id, logged)
            await told_the_model(fleet, caller)
        assert any(len(ledger.runs[cut]) == 2 for cut in cut_off if cut[0] == "ship"), "none was repeated"


async def told_the_model(fleet: Fleet, caller: Caller) -> None:
    """Wait until the provider has an output for every function call, and assert that these are right."""

    async def told() -> bool:
        kinds = Counter(item["type"] for item in await fleet.items(caller.call))
        return kinds["function_call"] == kinds["function_call_output"]

    await eventually(told, within=15, what=f"{caller.call} has an output for every call")
    logged = fleet.logs.entries[caller.call.session_id]
    check_conversation(caller.call.session_id, await fleet.items(caller.call), logged)
