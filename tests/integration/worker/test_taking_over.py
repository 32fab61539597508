"""A call goes on when its worker stops or dies."""

from __future__ import annotations

import os
import signal

from shared.session.log import AgentTurn, Attached, ConsentNoted, ConsentStep, ToolFinished
from shared.session.model import SessionState
from tests.integration.worker.stage import Stage
from tests.support.eventually import eventually


async def test_a_stopped_worker_hands_its_call_to_the_next_one(own_stage: Stage) -> None:
    session_id, call_id = await own_stage.talk()
    await own_stage.wait_entry(session_id, AgentTurn)
    assert own_stage.worker is not None
    own_stage.worker.process.terminate()
    assert await own_stage.worker.process.wait() == 0
    assert (await own_stage.sessions.get(session_id)).state is SessionState.ACTIVE
    await own_stage.start_worker()

    async def attached_again() -> bool:
        return len(await own_stage.entries(session_id, Attached)) == 2

    await eventually(attached_again, what="the next worker attached")
    await own_stage.say(call_id, "look up 9")
    await own_stage.wait_entry(session_id, AgentTurn, lambda turn: "81" in turn.text)
    epochs = [entry.epoch for entry in await own_stage.entries(session_id, Attached)]
    assert epochs == sorted(set(epochs))


async def test_a_killed_worker_is_replaced_when_its_lease_has_lapsed(own_stage: Stage) -> None:
    session_id, call_id = await own_stage.talk()
    await own_stage.wait_entry(session_id, AgentTurn)
    assert own_stage.worker is not None
    own_stage.worker.process.kill()
    await own_stage.worker.process.wait()
    await own_stage.start_worker()

    async def attached_again() -> bool:
        return len(await own_stage.entries(session_id, Attached)) == 2

    await eventually(attached_again, what="the next worker attached")
    await own_stage.say(call_id, "look up 10")
    await own_stage.wait_entry(session_id, AgentTurn, lambda turn: "100" in turn.text)


async def test_a_worker_that_wakes_up_after_its_lease_lapsed_lets_go_by_itself(own_stage: Stage) -> None:
    session_id, call_id = await own_stage.talk()
    await own_stage.wait_entry(session_id, AgentTurn)
    sleeper, sleepers_port = own_stage.worker, own_stage.worker_port
    assert sleeper is not None
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    try:
        await own_stage.start_worker()

        async def attached_again() -> bool:
            return len(await own_stage.entries(session_id, Attached)) == 2

        await eventually(attached_again, within=20, what="the other worker attached")
    finally:
        os.kill(sleeper.process.pid, signal.SIGCONT)
    # Both have a sideband now and hear the same call; only one may act on it.
    await own_stage.say(call_id, "look up 11")
    await own_stage.wait_entry(session_id, AgentTurn, lambda turn: "121" in turn.text)
    assert len(await own_stage.entries(session_id, ToolFinished)) == 1

    async def let_go() -> bool:
        async with own_stage.http.get(f"http://127.0.0.1:{sleepers_port}/ready") as response:
            return (await response.json())["sessions"] == 0

    await eventually(let_go, what="the old owner has let go of the session")
    owners = {entry.worker for entry in await own_stage.entries(session_id, Attached)}
    assert len(owners) == 2
    written = [one.epoch for one in await own_stage.log.read(session_id, limit=500) if one.epoch]
    assert written == sorted(written), "an old owner wrote after a new one"


async def test_another_worker_goes_on_from_the_announcement(own_stage: Stage) -> None:
    session_id, call_id = await own_stage.place_call(agent_name="careful")
    await own_stage.wait_entry(session_id, ConsentNoted)
    assert own_stage.worker is not None
    own_stage.worker.process.kill()
    await own_stage.worker.process.wait()
    await own_stage.start_worker()

    async def attached_again() -> bool:
        return len(await own_stage.entries(session_id, Attached)) == 2

    await eventually(attached_again, what="the next worker attached")
    await own_stage.say(call_id, "I agree")
    await own_stage.wait_entry(session_id, AgentTurn, lambda turn: turn.text.startswith("Hello, this is"))
    steps = [entry.step for entry in await own_stage.entries(session_id, ConsentNoted)]
    assert steps == [ConsentStep.ANNOUNCED, ConsentStep.GIVEN]
    turns = [turn.text for turn in await own_stage.entries(session_id, AgentTurn)]
    assert turns.count("This call is recorded. Is that all right?") == 1
