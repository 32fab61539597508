"""A session whose audio the worker carries goes on when its worker stops or dies."""

from __future__ import annotations

from shared.session.log import AgentTurn, Attached, ToolCalled
from tests.integration.worker.own_sessions import talk
from tests.integration.worker.stage import Stage


async def test_a_killed_owner_is_followed_by_another_with_the_conversation_so_far(own_stage: Stage) -> None:
    call = await talk(own_stage)
    await call.say("my name is Ann")
    await call.answered("Ann")
    await call.say("charge")
    called = await own_stage.wait_entry(call.session_id, ToolCalled)
    assert own_stage.worker is not None
    own_stage.worker.process.kill()
    await own_stage.worker.process.wait()
    await own_stage.start_worker()
    second = await call.attached(2)
    await call.answered("outcome_unknown")
    items = await call.items(second)
    assert ("user", "my name is Ann") in items
    calls = [one for one in items if one[0] in ("call", "output")]
    assert calls == [("call", called.tool_call_id), ("output", called.tool_call_id)]
    greetings = [t for t in await own_stage.entries(call.session_id, AgentTurn) if "Hello" in t.text]
    assert len(greetings) == 1
    epochs = [entry.epoch for entry in await own_stage.entries(call.session_id, Attached)]
    assert epochs == sorted(set(epochs))


async def test_a_stopped_owner_hands_over_and_nothing_is_said_twice(own_stage: Stage) -> None:
    call = await talk(own_stage)
    await call.say("look up 9")
    await call.answered("81")
    assert own_stage.worker is not None
    own_stage.worker.process.terminate()
    assert await own_stage.worker.process.wait() == 0
    await own_stage.start_worker()
    second = await call.attached(2)
    turns = len(await own_stage.entries(call.session_id, AgentTurn))
    await call.say("my name is Ann")
    await call.answered("Ann")
    assert len(await own_stage.entries(call.session_id, AgentTurn)) == turns + 1
    kinds = [kind for kind, _ in await call.items(second)]
    assert kinds == ["assistant", "user", "call", "output", "assistant", "user", "assistant"]
