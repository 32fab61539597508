"""Rules for who answers: the first that fits decides, and what is wrong with them is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.agents.catalog import AgentCatalog, load_agents
from shared.agents.problems import AgentLoadError
from shared.agents.router import Arrival, Router
from shared.agents.router_file import ROUTER_FILE, load_router
from shared.errors import InvalidRequestError
from shared.telephony.policy_file import POLICY_FILE, PolicyLoadError, load_policy

RULES = """\
rules:
  - agent: night
    hours: {time_zone: Europe/Berlin, saturday: ["00:00-24:00"], sunday: ["00:00-24:00"]}
  - agent: german
    called: ["+4930*"]
  - agent: german
    language: [de, at]
  - agent: vip
    caller: ["+15550100"]
    variables: {plan: [gold, platinum]}
  - agent: day
"""
MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
SUNDAY = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("day", "night", "german", "vip"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\ndescription: x\ninstructions: Be {name}.\n")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "keys.py").write_text(
        "from shared.tools import tool\n\n"
        "@tool(sets_facts=['known'])\ndef check() -> str:\n    'Check.'\n    return ''\n"
    )
    (tmp_path / "inner.yaml").write_text(
        "name: inner\ndescription: x\ninstructions: Be in.\nrequires: [known]\ntools: [keys.check]\n"
    )
    (tmp_path / ROUTER_FILE).write_text(RULES)
    return tmp_path


@pytest.fixture
def agents(directory: Path) -> AgentCatalog:
    return load_agents(directory)


@pytest.mark.parametrize(
    ("arrival", "agent"),
    [
        (Arrival(at=MONDAY), "day"),
        (Arrival(at=SUNDAY, language="de"), "night"),
        (Arrival(at=MONDAY, called="+493012345"), "german"),
        (Arrival(at=MONDAY, called="reception"), "day"),
        (Arrival(at=MONDAY, language="de"), "german"),
        (Arrival(at=MONDAY, language="fr"), "day"),
        (Arrival(at=MONDAY, caller="+15550100", variables={"plan": "gold"}), "vip"),
        (Arrival(at=MONDAY, caller="+15550100", variables={"plan": "tin"}), "day"),
        (Arrival(at=MONDAY, caller="+15550101", variables={"plan": "gold"}), "day"),
    ],
)
def test_the_first_rule_that_fits_decides(
    directory: Path, agents: AgentCatalog, arrival: Arrival, agent: str
) -> None:
    assert load_router(directory, agents).choose(arrival) == agent


def test_where_none_fits_the_caller_is_told(directory: Path, agents: AgentCatalog) -> None:
    (directory / ROUTER_FILE).write_text("rules:\n  - agent: german\n    language: [de]\n")
    with pytest.raises(InvalidRequestError, match="no_route"):
        load_router(directory, agents).choose(Arrival(at=MONDAY))
    with pytest.raises(InvalidRequestError, match=r"There is no agents\.router\.yaml"):
        Router().choose(Arrival(at=MONDAY))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules:\n  - agent: dya\n", "2: rules[0].agent: there is no agent 'dya'. Did you mean day?"),
        ("rules:\n  - agent: inner\n", "2: rules[0].agent: inner takes over only with known"),
        (
            "rules:\n  - agent: day\n  - agent: night\n",
            "2: rules[0]: always fits; the rules below it never do.",
        ),
        ("rules:\n  - agnt: day\n", "2: rules[0].agnt: is not a known field. Did you mean agent?"),
        (
            "rules:\n  - agent: day\n    called: ['5550']\n",
            "3: rules[0].called[0]: must be a number with its",
        ),
        ("rules:\n  - agent: day\n    called: '+15550100'\n", "3: rules[0].called: must be a list."),
        (
            "rules:\n  - agent: day\n    language: [english]\n",
            "3: rules[0].language[0]: must be a two-letter",
        ),
        (
            "rules:\n  - agent: day\n    hours: {time_zone: Mars}\n",
            "3: rules[0].hours.time_zone: must be a time",
        ),
        ("rules: day\n", "1: rules: must be a list."),
        ("rules: [\n", "is not valid YAML"),
        ("", "1: rules: is missing."),
    ],
)
def test_what_is_wrong_is_told(directory: Path, agents: AgentCatalog, text: str, told: str) -> None:
    (directory / ROUTER_FILE).write_text(text)
    with pytest.raises(AgentLoadError) as caught:
        load_router(directory, agents)
    assert any(told in str(problem) for problem in caught.value.problems), caught.value.detail


def test_the_policy_for_phone_calls_may_leave_it_to_the_rules(directory: Path, agents: AgentCatalog) -> None:
    (directory / POLICY_FILE).write_text("default_agent: router\n")
    assert load_policy(directory, agents).default_agent == "router"
    (directory / ROUTER_FILE).unlink()
    with pytest.raises(PolicyLoadError, match=r"asks agents\.router\.yaml, which is not there"):
        load_policy(directory, agents)
    (directory / POLICY_FILE).write_text("default_agent: inner\n")
    with pytest.raises(PolicyLoadError, match="takes over only with known"):
        load_policy(directory, agents)
