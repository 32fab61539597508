"""The policy as people write it, and what they are told who got it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.agents.catalog import AgentCatalog, load_agents
from shared.telephony.policy import InboundPolicy
from shared.telephony.policy_file import POLICY_FILE, PolicyLoadError, load_policy

AGENTS = Path(__file__).resolve().parents[3] / "agents"
WHOLE = """
numbers:
  "+1 (555) 0199": member_services
  reception: picky
default_agent: member_services
callers:
  deny: ["+15550666", "+1900*"]
  allow: ["+1*"]
  withheld: refuse
max_live_calls: 50
"""
PICKY = """
name: picky
description: Needs to be told things.
prompt: prompts/picky.md.j2
variables: {caller_number: {}, plan: {}}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> AgentCatalog:
    root = tmp_path_factory.mktemp("agents")
    (root / "prompts").mkdir()
    (root / "prompts" / "picky.md.j2").write_text("{{ caller_number }} {{ plan }}")
    (root / "picky.yaml").write_text(PICKY)
    (root / "member_services.yaml").write_text(
        "name: member_services\ndescription: x\nprompt: prompts/picky.md.j2\n"
        'variables: {caller_number: {}, plan: {default: ""}}\n'
    )
    return load_agents(root)


def told(directory: Path, text: str, agents: AgentCatalog) -> list[str]:
    (directory / POLICY_FILE).write_text(text)
    with pytest.raises(PolicyLoadError) as caught:
        load_policy(directory, agents)
    assert caught.value.code == "telephony_policy_invalid"
    return [
        f"{problem.line}: {problem.field}: {problem.message} {problem.fix}"
        for problem in caught.value.problems
    ]


def test_a_whole_policy(directory: Path, agents: AgentCatalog) -> None:
    (directory / POLICY_FILE).write_text(WHOLE.replace("picky", "member_services"))
    assert load_policy(directory, agents) == InboundPolicy(
        numbers={"15550199": "member_services", "reception": "member_services"},
        default_agent="member_services",
        deny=("+15550666", "+1900*"),
        allow=("+1*",),
        answer_withheld=False,
        max_live_calls=50,
    )


@pytest.mark.parametrize("text", [None, "", "# nothing yet\n"])
def test_without_a_policy_no_call_is_answered(
    directory: Path, agents: AgentCatalog, text: str | None
) -> None:
    if text is not None:
        (directory / POLICY_FILE).write_text(text)
    assert load_policy(directory, agents) == InboundPolicy()


def test_the_policy_of_the_repository_fits_its_agents() -> None:
    catalog = load_agents(AGENTS)
    assert "telephony" not in " ".join(catalog.names), "the policy is no agent"
    load_policy(AGENTS, catalog)


def test_an_agent_that_needs_what_no_call_brings_is_told(directory: Path, agents: AgentCatalog) -> None:
    (line,) = told(directory, WHOLE, agents)
    assert line.startswith("4: numbers.reception: picky needs the variables plan, which no call brings.")
    assert "defaults" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "default_agent: member_service\n",
            ["1: default_agent: there is no agent 'member_service'. Did"],
        ),
        ("numbers: {'+15550199': nobody}\n", ["1: numbers.+15550199: there is no agent 'nobody'."]),
        (
            "numbers:\n  '5550199': member_services\n",
            ["2: numbers.5550199: must be a number with its"],
        ),
        ("numbers:\n  +15550199: member_services\n", ["2: numbers: a name must be text; put it in quotes."]),
        (
            "numbers:\n  '+15550199': member_services\n  '+1-555-0199': member_services\n",
            ["3: numbers.+1-555-0199: is there twice"],
        ),
        (
            "callers:\n  deny:\n    - +15550666\n",
            ["3: callers.deny[0]: must be text. Put a number"],
        ),
        ("callers: {deny: ['*']}\n", ["1: callers.deny[0]: must be a number with its country"]),
        ("callers: {allow: '+1*'}\n", ["1: callers.allow: must be a list."]),
        ("callers: {alow: []}\n", ["1: callers.alow: is not a known field. Did you mean allow?"]),
        ("callers: {withheld: maybe}\n", ["1: callers.withheld: must be answer or refuse."]),
        ("defaultagent: x\n", ["1: defaultagent: is not a known field. Did you mean default_agent?"]),
        ("max_live_calls: 0\n", ["1: max_live_calls: "]),
        ("max_live_calls: many\nnumbers: []\n", ["1: max_live_calls: ", "2: numbers: must be a mapping"]),
        ("numbers: {\n", ["2: : is not valid YAML"]),
    ],
)
def test_mistakes_are_told_by_line_and_field(
    directory: Path, agents: AgentCatalog, text: str, expected: list[str]
) -> None:
    lines = told(directory, text, agents)
    assert len(lines) == len(expected), lines
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(beginning), line


def test_a_wrong_callers_number_is_not_repeated(directory: Path, agents: AgentCatalog) -> None:
    assert "5550666" not in "".join(told(directory, "callers: {deny: ['5550666']}\n", agents))
