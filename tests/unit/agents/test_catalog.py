"""What a directory of agents becomes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.agents.agent import AgentLimits, SemanticVad, ServerVad
from shared.agents.catalog import load_agents
from shared.errors import InvalidRequestError, NotFoundError, SidetoneError
from shared.session.log import ToolExecution
from shared.session.model import Transport
from shared.tools import ToolContext
from shared.tools.execution import run_tool

REPOSITORY = Path(__file__).parents[3]


def write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_an_agent_as_written(agents_dir: Path) -> None:
    catalog = load_agents(agents_dir)
    assert catalog.names == ("desk",)
    assert [agent.name for agent in catalog] == ["desk"]
    assert len(catalog) == 1
    agent = catalog.get("desk")
    assert agent.description == "Answers the desk."
    assert (agent.voice, agent.language, agent.greeting) == ("cedar", "en", "")
    assert agent.turn_detection == SemanticVad(eagerness="low")
    assert agent.limits == AgentLimits(max_duration_s=600)
    assert agent.max_output_tokens == 500
    assert {name: tool.execution for name, tool in agent.tools.items()} == {
        "lend": ToolExecution.DURABLE,
        "find": ToolExecution.INLINE,
    }


def test_defaults(agents_dir: Path) -> None:
    write(agents_dir / "bare.yml", "name: bare\ndescription: Bare.\nprompt: prompts/bare.txt\n")
    write(agents_dir / "prompts/bare.txt", "Be brief.")
    agent = load_agents(agents_dir).get("bare")
    assert (agent.voice, agent.language, agent.greeting) == ("marin", "en", "")
    assert agent.turn_detection == ServerVad()
    assert agent.limits == AgentLimits()
    assert agent.max_output_tokens == "inf"
    assert not agent.tools
    assert agent.instructions({}) == "Be brief."


def test_an_unknown_agent(agents_dir: Path) -> None:
    with pytest.raises(NotFoundError, match="there are: desk") as caught:
        load_agents(agents_dir).get("dusk")
    assert caught.value.code == "unknown_agent"


async def test_tools_run_and_may_import_their_neighbours(agents_dir: Path) -> None:
    tool = load_agents(agents_dir).get("desk").tools["lend"]
    context = ToolContext(session_id="s", tool_call_id="c", idempotency_key="k", agent="desk")
    outcome = await run_tool(tool, '{"title": "Emma"}', context)
    assert json.loads(outcome.output) == "Emma from shelf 1 for k"


def test_the_instructions_hold_the_variables(agents_dir: Path) -> None:
    agent = load_agents(agents_dir).get("desk")
    assert agent.instructions({"account": "7"}) == "You are the desk.\nAccount 7."
    assert agent.instructions({"account": "7", "caller_name": "Ann"}) == (
        "You are the desk.\nCaller: Ann\nAccount 7."
    )


def test_variables_are_text_and_never_a_template(agents_dir: Path) -> None:
    agent = load_agents(agents_dir).get("desk")
    assert agent.instructions({"account": "{{ caller_name }}{% raw %}"}).endswith(
        "Account {{ caller_name }}{% raw %}."
    )


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "account is missing"),
        ({"account": "7", "acount": "8"}, "acount is not known"),
        ({"account": "7" * 2001}, "account has 2001 characters, at most 2000"),
    ],
)
def test_variables_that_do_not_fit(agents_dir: Path, variables: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        load_agents(agents_dir).get("desk").instructions(variables)
    assert caught.value.code == "agent_variables"
    assert told in caught.value.detail
    assert "It takes: account, caller_name." in caught.value.detail


def test_a_prompt_that_breaks_on_its_values(agents_dir: Path) -> None:
    write(agents_dir / "prompts/desk.md.j2", "{{ 1 // (account | int) }}")
    agent = load_agents(agents_dir).get("desk")
    assert agent.instructions({"account": "1"}) == "1"
    with pytest.raises(SidetoneError) as caught:
        agent.instructions({"account": "0"})
    assert caught.value.code == "agent_prompt_failed"


def test_a_template_can_not_reach_the_process(agents_dir: Path) -> None:
    write(agents_dir / "prompts/desk.md.j2", "{{ account.__class__.__mro__ }}")
    with pytest.raises(SidetoneError, match="SecurityError") as caught:
        load_agents(agents_dir).get("desk").instructions({"account": "1"})
    assert caught.value.code == "agent_prompt_failed"


def test_the_version_follows_what_the_agent_is_made_of(agents_dir: Path, tmp_path: Path) -> None:
    write(agents_dir / "prompts/desk.md.j2", '{% include "prompts/part.md" %}')
    write(agents_dir / "prompts/part.md", "{{ account }}")

    def version() -> str:
        return load_agents(agents_dir).get("desk").version

    seen = [version()]
    change(agents_dir / "desk.yaml", "cedar", "marin")
    seen.append(version())
    change(agents_dir / "prompts/part.md", "account", "caller_name")
    seen.append(version())
    change(agents_dir / "tools/shelves.py", "shelf 1", "shelf 2")
    seen.append(version())
    assert len(set(seen)) == 4
    write(agents_dir / "desk.rules.yaml", "other: rules\n")
    write(agents_dir / "prompts/unused.md", "Unused.")
    assert version() == seen[-1]
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(agents_dir, elsewhere)
    assert load_agents(elsewhere).get("desk").version == seen[-1]


def test_directories_do_not_share_modules(agents_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(agents_dir, other)
    change(other / "tools/shelves.py", "shelf 1", "the cellar")
    context = ToolContext(session_id="s", tool_call_id="c", idempotency_key="k", agent="desk")
    lend = [load_agents(root).get("desk").tools["lend"] for root in (agents_dir, other, agents_dir)]
    assert [tool("Emma", context) for tool in lend] == [
        "Emma from shelf 1 for k",
        "Emma from the cellar for k",
        "Emma from shelf 1 for k",
    ]
    assert lend[0] is lend[2]  # unchanged: imported once
    assert "books" not in sys.modules


def test_an_edited_module_is_imported_afresh(agents_dir: Path) -> None:
    context = ToolContext(session_id="s", tool_call_id="c", idempotency_key="k", agent="desk")
    load_agents(agents_dir)
    change(agents_dir / "tools/shelves.py", "shelf 1", "shelf number 2")
    lend = load_agents(agents_dir).get("desk").tools["lend"]
    assert lend("Emma", context) == "Emma from shelf number 2 for k"


def test_turn_detection_as_the_provider_takes_it() -> None:
    vad = ServerVad(threshold=0.4, idle_timeout_ms=6000)
    assert vad.as_session_field(Transport.WEBRTC) == {
        "type": "server_vad",
        "threshold": 0.4,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": 6000,
        "create_response": True,
        "interrupt_response": True,
    }
    assert vad.as_session_field(Transport.SIP) == {
        "type": "server_vad",
        "idle_timeout_ms": 6000,
        "create_response": True,
        "interrupt_response": True,
    }
    assert SemanticVad().as_session_field(Transport.SIP) == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }


def check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shared.agents", "check", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_check_command(agents_dir: Path) -> None:
    done = check(str(agents_dir))
    assert (done.returncode, done.stderr) == (0, "")
    assert "voice cedar, language en, 2 tools: lend (durable), find (inline)" in done.stdout
    assert "variables: caller_name, account (required: account)" in done.stdout
    change(agents_dir / "desk.yaml", "cedar", "cider")
    wrong = check(AGENTS_DIR=str(agents_dir))
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == (f"{agents_dir}/desk.yaml:4: voice: can't be 'cider'. Did you mean cedar?\n")


def test_the_agents_of_this_repository() -> None:
    done = check()
    assert done.returncode == 0, done.stderr
    assert "member_services" in done.stdout
