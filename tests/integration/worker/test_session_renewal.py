"""A conversation that lasts longer than any provider session."""

from __future__ import annotations

import time
from pathlib import Path

from shared.session.log import AgentTurn, Attached, CommandReceived, ErrorRecorded
from shared.session.model import EndReason, SessionState
from tests.integration.worker.conftest import SETTINGS
from tests.integration.worker.own_sessions import talk
from tests.integration.worker.stage import Stage


async def test_a_session_is_renewed_before_it_expires_and_the_caller_hears_nothing_of_it(
    tmp_path: Path,
) -> None:
    lasts_s = 7.0
    options = ["--session-minutes", str(lasts_s / 60)]
    async with Stage(tmp_path, SETTINGS, options) as stage:
        began = time.monotonic()
        call = await talk(stage)
        await call.say("my name is Ann")
        await call.answered("Ann")
        for number in (2, 3):
            session = await call.attached(number)
            await call.say(f"look up {number}")
            await call.answered(str(number * number))
            assert ("user", "my name is Ann") in await call.items(session)
        assert time.monotonic() - began < 2 * lasts_s, "two sessions were left before they were over"
        for ended in (await call.provider_sessions())[:2]:
            assert (await call.ask(f"/_emu/calls/{ended}"))["end_reason"] == "client_closed"
        assert await stage.entries(call.session_id, ErrorRecorded) == []
        assert await stage.entries(call.session_id, CommandReceived) == []
        said = [turn.text for turn in await stage.entries(call.session_id, AgentTurn)]
        assert len(said) == 4, said
        assert {entry.epoch for entry in await stage.entries(call.session_id, Attached)} == {1}
        assert (await stage.sessions.get(call.session_id)).state is SessionState.ACTIVE
        await stage.tell()


async def test_a_call_whose_media_flows_elsewhere_ends_before_its_session_does(tmp_path: Path) -> None:
    async with Stage(tmp_path, SETTINGS, ["--session-minutes", "0.55"]) as stage:
        session_id, _ = await stage.talk()  # it lasts 33 seconds, of which the last 30 are kept for a goodbye
        session = await stage.wait_state(session_id, SessionState.ENDED)
        assert session.end_reason == EndReason.PROVIDER_LIMIT
        await stage.tell()
