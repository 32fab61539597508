"""The offline mind of the claims line, beside those of all other agents: what phone callers say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulators.realtime.mind.choice import choose_mind
from emulators.realtime.mind.thoughts import CallTool, Say
from emulators.realtime.session.conversation import Item
from emulators.realtime.session.turn import Turn
from shared.agents.catalog import load_agents

AGENTS = Path(__file__).parents[3] / "agents"


async def answer(*said: str) -> list[Say | CallTool]:
    """Return what the agent does when the caller has said all this and got no answer."""
    agent = load_agents(AGENTS).get("claims_line")
    turn = Turn(
        response_id="resp_1",
        instructions=agent.instructions({}),
        response_instructions=None,
        tools=tuple(tool.function_schema() for tool in agent.tools.values()),
        tool_choice="auto",
        items=tuple(Item(id=f"item_{n}", role="user", text=text) for n, text in enumerate(said)),
        in_conversation=True,
        metadata=None,
    )
    mind = choose_mind([], AGENTS, {}).new()
    return [thought async for thought in mind.think(turn)]


@pytest.mark.parametrize(
    ("heard", "tool", "arguments"),
    [
        ("Keys pressed: 1042#", "claim_status", {"claim_number": "1042"}),
        ("What is the status of claim one, zero, four, two?", "claim_status", {"claim_number": "1042"}),
        ("What is the status of claim to zero seven seven?", "claim_status", {"claim_number": "to 077"}),
        ("Please transfer me to Billen.", "transfer_call", {"to": "billing"}),
        ("Can I speak to a person?", "transfer_call", {"to": "billing"}),
        ("Thank you. Goodbye.", "end_call", {}),
    ],
)
async def test_what_callers_want(heard: str, tool: str, arguments: dict[str, str]) -> None:
    (call,) = [thought for thought in await answer(heard) if isinstance(thought, CallTool)]
    assert (call.name, json.loads(call.arguments)) == (tool, arguments)


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        ("What can you do for me?", "I can tell you where a claim stands."),
        ("Sorry, I want to check a claim.", "Please say the four digits"),
        ("Thank you. Goodbye.", "Goodbye!"),
        ("It is raining.", "I did not understand that"),
    ],
)
async def test_what_callers_are_told(heard: str, words: str) -> None:
    assert words in " ".join(thought.text for thought in await answer(heard) if isinstance(thought, Say))
