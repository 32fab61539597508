"""An app without Communication Services: nobody is believed, and no call is lost without a word."""

from __future__ import annotations

import pytest

from tests.integration.functions.api_client import Api
from tests.integration.telephony.stage import AGENTS, Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_without_settings_nothing_is_believed_and_no_call_is_lost_without_a_word(stage: Stage) -> None:
    functions = stage.stack.start_functions(
        name="without-acs", AGENTS_DIR=str(AGENTS), OUTBOUND_CALLS_PER_MINUTE="1"
    )
    try:
        session_id = "ses_" + "1" * 26
        token = stage.ring.issue_callback_token(session_id, 60)
        reply = await Api(functions, Authorization="Bearer x.y.z").send(
            "POST", f"/webhooks/acs/{session_id}", data=b"[]", query={"token": token}
        )
        assert reply.problem() == (503, "acs_not_configured")
        placed = await Api.application(functions).post("/calls", {"to": "+15550100", "agent": "plain"})
        assert placed.problem() == (503, "acs_not_configured")
        again = await Api.application(functions).post("/calls", {"to": "+15550100", "agent": "plain"})
        assert again.problem() == (429, "rate_limited")
        await stage.line.unsubscribe("incoming-calls")
        await stage.line.subscribe(functions.event_grid_url("incoming_call"), "incoming-calls")
        call = await stage.line.ring()
        delivery = (await stage.line.deliveries(within=20))[-1]
        assert delivery["state"] == "dropped"
        assert set(delivery["attempts"]) == {500}, "Event Grid tries again, and dead-letters it"
        await stage.line.on(call["id"], "hang-up")
    finally:
        functions.stop()
        await stage.line.unsubscribe("incoming-calls")
        await stage.line.subscribe(stage.functions.event_grid_url("incoming_call"), "incoming-calls")
