"""A person decides in the middle of a call, and everything that served the call was replaced meanwhile."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from shared.security.tokens import TokenRing
from shared.session.log import AgentTurn, ApprovalDecided, ApprovalRequested, ToolFinished, ToolStatus
from tests.integration.chaos.callers import Caller
from tests.integration.chaos.fleet import Fleet
from tests.integration.chaos.story import Ledger, check_log

pytestmark = pytest.mark.timeout(120)

ORDER = "471100"


async def test_a_decision_reaches_the_caller_though_worker_and_functions_were_killed(tmp_path: Path) -> None:
    async with Fleet(tmp_path, lease_ttl_s=1.5) as fleet:
        await asyncio.gather(fleet.start_functions(), fleet.start_workers(1))
        call = await fleet.place_call()
        entries = fleet.logs.entries[call.session_id]

        def said(words: str) -> bool:
            return any(isinstance(one.entry, AgentTurn) and words in one.entry.text for one in entries)

        async def heard(words: str) -> None:
            await fleet.logs.wait(lambda: said(words), within=30, what=f"the agent said {words!r}")

        await fleet.say(call, f"credit {ORDER}")
        await heard("A person is looking at that.")
        caller = Caller(fleet=fleet, call=call, number=1)
        await caller.ask("look up")  # something else meanwhile

        (worker,) = fleet.workers
        assert fleet.functions is not None
        worker.signal(signal.SIGKILL)
        fleet.functions.process.kill()
        await asyncio.gather(worker.ended(), fleet.functions.process.wait())
        await asyncio.gather(fleet.start_functions(), fleet.start_worker())
        await approve(fleet)
        fleet.functions.process.kill()  # it may have run the tool, or not yet begun
        await fleet.functions.process.wait()
        await fleet.start_functions()

        await heard(f"Order {ORDER} is credited.")
        (finished,) = [
            one.entry for one in entries if isinstance(one.entry, ToolFinished) and one.entry.name == "credit"
        ]
        assert finished.status is ToolStatus.OK
        for kind in (ApprovalRequested, ApprovalDecided):
            assert len([one for one in entries if isinstance(one.entry, kind)]) == 1, kind.__name__
        ledger = Ledger.read(fleet.ledger)
        assert len(ledger.effects["credit", ORDER]) == 1
        check_log(call.session_id, entries)


async def approve(fleet: Fleet) -> None:
    """Say yes to what waits, as Dana."""
    token = TokenRing(fleet.settings.signing_keys.get_secret_value()).issue_approver_token("Dana", 60)
    url = f"http://127.0.0.1:{fleet.control_plane_port}/api/v1/approvals"
    headers = {"Authorization": f"Bearer {token}"}
    async with fleet.http.get(url, headers=headers) as response:
        assert response.status == 200, await response.text()
        (waiting,) = (await response.json())["approvals"]
    assert waiting["question"] == f"Credit {ORDER}?"
    yes = {"decision": "approve"}
    async with fleet.http.post(f"{url}/{waiting['approval_id']}", json=yes, headers=headers) as response:
        assert response.status == 200, await response.text()
