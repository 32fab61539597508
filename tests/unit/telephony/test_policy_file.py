"""The policy as people write it, and what they are told who got it wrong."""

from __future__ import annotations

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from shared.agents.catalog import AgentCatalog, load_agents
from shared.telephony.hours import OpeningHours, Span
from shared.telephony.outbound import OutboundPolicy, Target
from shared.telephony.policy import Answer, InboundPolicy
from shared.telephony.policy_file import (
    POLICY_FILE,
    PolicyLoadError,
    check_destinations,
    load_policy,
)

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
redirects: {"+1-555-0142": "+1 (555) 0111"}
hours:
  time_zone: Europe/Berlin
  monday: ["09:00-12:00", "13:00-24:00"]
  closed: {agent: member_services}
outbound:
  allow: ["+1*"]
  deny: ["+1900*"]
  users: ["8:acs:ann"]
  caller_ids: ["+1 555 0142"]
  max_live_calls: 5
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
        redirects={"15550142": Target(address="+15550111")},
        hours=OpeningHours(
            zone=ZoneInfo("Europe/Berlin"),
            days=((Span(opens=540, closes=720), Span(opens=780, closes=1440)), (), (), (), (), (), ()),
        ),
        closed=Answer(agent="member_services", rule="closed"),
        outbound=OutboundPolicy(
            allow=("+1*",),
            deny=("+1900*",),
            users=("8:acs:ann",),
            caller_ids=("+15550142",),
            max_live_calls=5,
        ),
    )


@pytest.mark.parametrize("text", [None, "", "# nothing yet\n"])
def test_without_a_policy_no_call_is_answered(
    directory: Path, agents: AgentCatalog, text: str | None
) -> None:
    if text is not None:
        (directory / POLICY_FILE).write_text(text)
    assert load_policy(directory, agents) == InboundPolicy()


def test_the_policy_of_the_guide_is_one(tmp_path: Path, agents: AgentCatalog) -> None:
    guide = (AGENTS.parent / "docs" / "telephony.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```yaml\n(# agents/telephony[^`]*)```", guide)
    for agent in ("front_desk", "after_hours"):
        written = written.replace(agent, "member_services")
    (tmp_path / POLICY_FILE).write_text(written.replace("8:acs:…", "8:acs:ann"))
    policy = load_policy(tmp_path, agents)
    assert (policy.outbound.allow, policy.max_live_calls) == (("+1555*",), 50)


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
        ("hours: {monday: []}\n", ["1: hours.time_zone: is missing."]),
        ("hours:\n  time_zone: CEST5\n", ["2: hours.time_zone: must be a time zone of the IANA"]),
        (
            "hours:\n  time_zone: UTC\n  monday: [09:00-25:00]\n  tuesdy: []\n",
            [
                "3: hours.monday[0]: must be two times",
                "4: hours.tuesdy: is not a known field. Did",
            ],
        ),
        (
            "hours: {time_zone: UTC, closed: {agent: nobody, redirect: '+15550111'}}\n",
            [
                "1: hours.closed: names an agent and a redirect",
                "1: hours.closed.agent: there is no agent 'nobody'",
            ],
        ),
        (
            "hours: {time_zone: UTC, closed: {redirct: x}}\n",
            ["1: hours.closed.redirct: is not a known field."],
        ),
        ("redirects: {'+15550142': '0111'}\n", ["1: redirects.+15550142: must be a number with its country"]),
        (
            "numbers:\n  '+15550142': member_services\nredirects:\n  '+15550142': '+15550111'\n",
            ["4: redirects.+15550142: is there twice"],
        ),
        ("outbound: {allow: ['*']}\n", ["1: outbound.allow[0]: must be a number with its country"]),
        ("outbound: {users: ['+15550111']}\n", ["1: outbound.users[0]: is a number; name it under allow."]),
        ("outbound: {caller_ids: [anonymous]}\n", ["1: outbound.caller_ids[0]: must be a number"]),
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


BILLING = """
name: billing_line
description: Hands callers over.
prompt: prompts/picky.md.j2
variables: {caller_number: {}, plan: {}}
tools: [call.transfer, call.add_participant]
transfer_to: {billing: {to: "+15550111"}}
participants: {interpreter: {to: "8:acs:ann"}}
"""


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (
            None,
            [
                "outbound: does not allow transfer_to.billing of the agent billing_line. Name the number",
                "outbound: does not allow participants.interpreter of the agent billing_line. Name the",
            ],
        ),
        (
            'outbound: {allow: ["+1555*"]}\n',
            ["outbound: does not allow participants.interpreter of the agent billing_line."],
        ),
        ('outbound: {allow: ["+1555*"], users: ["8:acs:ann"]}\n', []),
    ],
)
def test_whom_agents_transfer_to_has_to_be_allowed(
    tmp_path: Path, policy: str | None, told: list[str]
) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "picky.md.j2").write_text("Be picky.")
    (tmp_path / "billing_line.yaml").write_text(BILLING)
    if policy is not None:
        (tmp_path / POLICY_FILE).write_text(policy)
    agents = load_agents(tmp_path)
    read = load_policy(tmp_path, agents)  # which answers calls all the same
    if not told:
        check_destinations(tmp_path, agents, read)
        return
    with pytest.raises(PolicyLoadError) as caught:
        check_destinations(tmp_path, agents, read)
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == len(told)
    assert all(any(expected in problem for problem in found) for expected in told), found
