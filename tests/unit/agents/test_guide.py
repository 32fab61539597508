"""The guide's agent works as it stands there, and so do its rules for who answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulators.realtime.mind.choice import choose_mind
from emulators.realtime.mind.thoughts import CallTool, Say
from emulators.realtime.session.conversation import Item
from emulators.realtime.session.turn import Turn
from shared.agents.catalog import load_agents
from shared.agents.router_file import ROUTER_FILE, load_router
from shared.tools import ToolContext
from shared.tools.execution import run_tool

DOCS = Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"`agents/(?P<file>[\w./]+)`:\n\n```\w+\n(?P<text>.*?)```", re.DOTALL)


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    """The files of the guide's first chapter, written where it says."""
    chapter = (DOCS / "agents.md").read_text().partition("## Ten minutes")[2].partition("\n## ")[0]
    for found in BLOCK.finditer(chapter):
        file = tmp_path / found["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found["text"])
    return tmp_path


async def test_the_agent_of_the_first_ten_minutes(agents: Path) -> None:
    library = load_agents(agents).get("library")
    mind = choose_mind([], agents, {}).new()
    items = [Item(id="i1", role="user", text="When are my books due? My card is one two three four.")]

    async def think() -> list[Say | CallTool]:
        turn = Turn(
            response_id="r",
            instructions=library.instructions({}),
            response_instructions=None,
            tools=tuple(tool.function_schema() for tool in library.tools.values()),
            tool_choice="auto",
            items=tuple(items),
            in_conversation=True,
            metadata=None,
        )
        return [thought async for thought in mind.think(turn)]

    (call,) = await think()
    assert isinstance(call, CallTool)
    context = ToolContext(session_id="s", tool_call_id="c", idempotency_key="k", agent="library")
    outcome = await run_tool(library.tools[call.name], call.arguments, context)
    items += [
        Item(id="i2", role="tool_call", call_id="c", name=call.name, arguments=call.arguments),
        Item(id="i3", role="tool_output", call_id="c", text=outcome.output),
    ]
    assert await think() == [Say("Your books are due on Friday, the fourth of December.")]


def test_the_rules_for_who_answers(tmp_path: Path) -> None:
    text = (DOCS / "teams.md").read_text().partition("the first that fits decides:\n\n```yaml\n")[2]
    rules = text.partition("```")[0]
    for name in re.findall(r"agent: (\w+)", rules):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\ndescription: x\ninstructions: Be {name}.\n")
    (tmp_path / ROUTER_FILE).write_text(rules)
    assert len(load_router(tmp_path, load_agents(tmp_path)).routes) == 4
