"""A worker that is told to stop moves its calls before it exits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.session.log import AgentTurn, Attached, StateChanged, ToolCalled, ToolFinished, ToolStatus
from tests.integration.worker.conftest import SETTINGS
from tests.integration.worker.own_sessions import talk
from tests.integration.worker.stage import Stage
from tests.support.eventually import eventually


@pytest.fixture
async def draining_stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Its workers keep calls that nobody else has room for, longer than any of these tests takes."""
    async with Stage(tmp_path, {**SETTINGS, "DRAIN_S": "60"}) as stage:
        yield stage
        await stage.tell()
        if stage.worker is not None and stage.worker.process.returncode is None:
            stage.worker.process.kill()  # it would wait for somebody to take its calls


async def test_a_stopping_worker_exits_when_another_holds_its_calls(draining_stage: Stage) -> None:
    stage = draining_stage
    calls = [await stage.talk() for _ in range(5)]
    first = stage.worker
    assert first is not None
    await stage.start_worker()
    first.process.terminate()
    assert await first.process.wait() == 0
    for session_id, call_id in calls:
        owner = (await stage.sessions.get(session_id)).owner
        assert owner, "the next owner is known when the old one exits"
        await stage.say(call_id, "look up 9")
        await stage.wait_entry(session_id, AgentTurn, lambda turn: "81" in turn.text)
        attached = await stage.entries(session_id, Attached)
        assert [one.worker for one in attached][1:] == [owner]
        assert [one.epoch for one in attached] == [1, 2]


async def test_a_tool_that_runs_is_not_cut_off_by_a_hand_over(draining_stage: Stage) -> None:
    stage = draining_stage
    session_id, call_id = await stage.talk()
    await stage.wait_entry(session_id, AgentTurn)
    await stage.say(call_id, "charge")
    await stage.wait_entry(session_id, ToolCalled)
    other_session, _ = await stage.talk()
    first = stage.worker
    assert first is not None
    await stage.start_worker()
    first.process.terminate()

    async def moved() -> bool:
        return len(await stage.entries(other_session, Attached)) == 2

    await eventually(moved, what="the call without a tool has moved")
    stage.ledger.with_suffix(".gate").touch()
    assert await first.process.wait() == 0
    finished = await stage.wait_entry(session_id, ToolFinished)
    assert finished.status is ToolStatus.OK
    assert len(stage.ledger.read_text().splitlines()) == 1
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "charge answered" in turn.text)


async def test_a_call_stays_until_somebody_has_room_for_it(draining_stage: Stage) -> None:
    stage = draining_stage
    session_id, call_id = await stage.talk()
    await stage.wait_entry(session_id, AgentTurn)
    first, face = stage.worker, stage.worker_port
    assert first is not None
    first.process.terminate()

    async def stopping() -> bool:
        return (await stage.probe("/ready", port=face))[1]["status"] == "stopping"

    await eventually(stopping, what="the worker is stopping")
    await stage.say(call_id, "look up 9")
    await stage.wait_entry(session_id, AgentTurn, lambda turn: "81" in turn.text)
    assert len(await stage.entries(session_id, Attached)) == 1
    await stage.start_worker()
    assert await first.process.wait() == 0
    assert len(await stage.entries(session_id, Attached)) == 2
    assert len(await stage.entries(session_id, StateChanged)) == 2, "connecting, active: the call went on"


async def test_a_call_whose_audio_the_worker_carries_stays_until_the_limit(tmp_path: Path) -> None:
    async with Stage(tmp_path, {**SETTINGS, "DRAIN_S": "4"}) as stage:
        carried = await talk(stage)
        beside, _ = await stage.talk()
        first = stage.worker
        assert first is not None
        await stage.start_worker()
        first.process.terminate()

        async def moved() -> bool:
            return len(await stage.entries(beside, Attached)) == 2

        await eventually(moved, what="the sideband has moved")
        assert len(await carried.provider_sessions()) == 1
        await carried.say("my name is Ann")
        await carried.answered("Ann")
        second = await carried.attached(2)
        assert await first.process.wait() == 0
        assert ("user", "my name is Ann") in await carried.items(second)
        await stage.tell()
