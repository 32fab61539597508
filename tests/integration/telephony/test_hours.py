"""Opening hours, on real processes: a number outside of them rings elsewhere, or is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.telephony.conftest import start_app
from tests.integration.telephony.stage import AGENTS, Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

# No day is named: it is closed whenever the test runs.
CLOSED = """
numbers: {"+1 555 0199": plain}
hours:
  time_zone: Europe/Berlin
  closed: {redirect: "+15550111"}
"""


async def test_outside_of_the_hours_a_call_rings_elsewhere_or_is_refused(
    stage: Stage, tmp_path: Path
) -> None:
    agents = tmp_path / "agents"
    shutil.copytree(AGENTS, agents)
    (agents / "telephony.policy.yaml").write_text(CLOSED, encoding="utf-8")
    functions = start_app(stage.stack, stage.media.url, name="closed", AGENTS_DIR=str(agents))
    await stage.line.unsubscribe("incoming-calls")
    try:
        await stage.line.subscribe(functions.event_grid_url("incoming_call"), "incoming-calls")
        before = len(await stage.sessions())

        call = await stage.line.ring()
        ended = await stage.line.becomes(call["id"], "ended")
        assert (ended["end_reason"], ended["redirected_to"]) == ("redirected", "+15550111")

        # Where the carrier will not have that, the caller hears that nobody is there.
        await stage.line.fault("http", operation="redirect", status=400)
        call = await stage.line.ring()
        ended = await stage.line.becomes(call["id"], "ended")
        assert (ended["end_reason"], ended["reject_reason"]) == ("rejected", "busy")

        # A number that nobody answers at any time is no matter of hours.
        call = await stage.line.ring(to="+15550100")
        ended = await stage.line.becomes(call["id"], "ended")
        assert (ended["end_reason"], ended["reject_reason"]) == ("rejected", "none")

        assert len(await stage.sessions()) == before
        await stage.line.deliveries()
        log = functions.log.read_text(encoding="utf-8")
        for told in ('"rule":"closed"', '"reason":"closed"', '"reason":"number_not_served"'):
            assert told in log, functions.tail()
    finally:
        functions.stop()
        await stage.line.unsubscribe("incoming-calls")
        await stage.line.subscribe(stage.functions.event_grid_url("incoming_call"), "incoming-calls")
