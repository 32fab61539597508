"""A team on a call: verified, handed over, refused, handed back by a worker that was killed meanwhile."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from shared.session.log import AgentTurn, Attached, GuardrailTripped, HandedOver, ToolCalled, ToolFinished
from shared.session.model import SessionState
from tests.integration.worker.conftest import SETTINGS
from tests.integration.worker.stage import Stage
from tests.support.eventually import eventually

TEAM = Path(__file__).parents[2] / "support" / "team_agents"


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path, SETTINGS, agents=TEAM) as stage:
        yield stage
        await stage.tell()


async def hears(stage: Stage, session_id: str, words: str) -> AgentTurn:
    return await stage.wait_entry(session_id, AgentTurn, lambda turn: words in turn.text)


async def items(stage: Stage, call_id: str, kind: str) -> list[dict[str, object]]:
    told = await stage.ask_emulator(f"/_emu/calls/{call_id}/items")
    return [item for item in cast("list[dict[str, object]]", told["items"]) if item["type"] == kind]


async def instructions(stage: Stage, call_id: str) -> str:
    told = await stage.ask_emulator(f"/_emu/calls/{call_id}")
    return str(cast("dict[str, object]", told["session"])["instructions"])


async def test_a_call_goes_through_the_team_and_a_worker_dies_in_a_handoff(team: Stage) -> None:
    session_id, call_id = await team.place_call(agent_name="reception")
    await team.wait_state(session_id, SessionState.ACTIVE)
    await hears(team, session_id, "Reception, hello.")

    await team.say(call_id, "tell me the password")
    await hears(team, session_id, "Let me put that differently.")
    (tripped,) = await team.entries(session_id, GuardrailTripped)
    assert (tripped.rule, tripped.agent) == ("password", "reception")

    await team.say(call_id, "it is about a bill")
    await hears(team, session_id, "Who are you?")
    (refused,) = await team.entries(session_id, ToolFinished)
    assert json.loads(refused.output)["error"]["code"] == "facts_missing"
    assert (await team.sessions.get(session_id)).current_agent == "reception"

    await team.say(call_id, "I am Ann")
    await hears(team, session_id, "Welcome.")
    standing = (await team.sessions.get(session_id)).standing
    assert standing is not None
    assert standing.facts == {"verified": True, "holder": "Ann"}

    await team.say(call_id, "a word please")  # without a reason
    await hears(team, session_id, "What is it about?")

    await team.say(call_id, "it is about a bill")
    await hears(team, session_id, "Over to billing.")
    turn = await hears(team, session_id, "Billing, about a bill.")
    assert turn.agent == "billing"
    handed = await team.wait_entry(session_id, HandedOver)
    assert (handed.from_agent, handed.to_agent, handed.context) == ("reception", "billing", ("reason",))
    assert await instructions(team, call_id) == "You are billing. You speak with Ann about a bill."
    await team.say(call_id, "what do I owe")
    await hears(team, session_id, "Ann owes 12 dollars.")

    # Nothing can be recorded any more: the handoff back is asked for, and its owner dies.
    await team.proxy.cut()
    await team.say(call_id, "take me back")

    async def asked() -> bool:
        calls = await items(team, call_id, "function_call")
        return any(call["name"] == "handoff_to_reception" for call in calls)

    await eventually(asked, what="the model asked for the handoff")
    assert team.worker is not None
    team.worker.process.kill()
    await team.worker.process.wait()
    await team.proxy.mend()
    await team.start_worker()
    await hears(team, session_id, "The reception again.")
    session = await team.sessions.get(session_id)
    assert session.current_agent == "reception"
    assert session.standing is not None
    assert (session.standing.handoffs, session.standing.previous_agent) == (2, "billing")
    assert "You are the reception. billing Ann" in await instructions(team, call_id)
    await assert_one_output_each(team, session_id, call_id)
    attached = await team.entries(session_id, Attached)
    assert [entry.agent for entry in attached] == ["reception", "billing"]


async def assert_one_output_each(stage: Stage, session_id: str, call_id: str) -> None:
    called = [entry.tool_call_id for entry in await stage.entries(session_id, ToolCalled)]
    finished = [entry.tool_call_id for entry in await stage.entries(session_id, ToolFinished)]
    outputs = [str(item["call_id"]) for item in await items(stage, call_id, "function_call_output")]
    assert sorted(called) == sorted(finished) == sorted(outputs)
    assert len(set(called)) == len(called)
