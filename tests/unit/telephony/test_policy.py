"""Who is answered, by whom, and what the agent is told of the caller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shared.agents.agent import Agent, Variable
from shared.agents.catalog import load_agents
from shared.session.model import Transport
from shared.telephony.calls import InboundCall, Refusal
from shared.telephony.policy import Answer, InboundPolicy, Refuse, variables_of

AGENTS = Path(__file__).resolve().parents[3] / "agents"


def a_call(caller: str = "+15550100", called: str = "+15550199") -> InboundCall:
    return InboundCall(call_id="rtc_1", transport=Transport.SIP, caller=caller, called=called)


POLICY = InboundPolicy(
    numbers={"15550199": "desk", "reception": "hall"}, default_agent="else", deny=("+15550666", "+1900*")
)


@pytest.mark.parametrize(
    ("called", "agent"),
    [
        ("+15550199", "desk"),
        ("15550199", "desk"),
        ("reception", "hall"),
        ("+15550142", "else"),
        ("", "else"),
    ],
)
def test_the_called_address_chooses_the_agent(called: str, agent: str) -> None:
    assert POLICY.decide(a_call(called=called)) == Answer(agent=agent)


@pytest.mark.parametrize(
    ("policy", "caller", "reason"),
    [
        (POLICY, "+15550666", Refusal.CALLER_DENIED),
        (POLICY, "15550666", Refusal.CALLER_DENIED),
        (POLICY, "+19005550100", Refusal.CALLER_DENIED),
        (replace(POLICY, allow=("+15550*",)), "+442079460000", Refusal.CALLER_NOT_ALLOWED),
        (replace(POLICY, allow=("+15550*",)), "+15550666", Refusal.CALLER_DENIED),
        (replace(POLICY, allow=("+15550*",)), "", Refusal.CALLER_NOT_ALLOWED),
        (replace(POLICY, allow=("+15550*",)), "15550x", Refusal.CALLER_NOT_ALLOWED),
        (replace(POLICY, answer_withheld=False), "", Refusal.CALLER_WITHHELD),
        (replace(POLICY, answer_withheld=False), "ann", Refusal.CALLER_WITHHELD),
        (InboundPolicy(), "+15550100", Refusal.NUMBER_NOT_SERVED),
        (InboundPolicy(numbers={"15550142": "desk"}), "+15550100", Refusal.NUMBER_NOT_SERVED),
    ],
)
def test_who_is_refused(policy: InboundPolicy, caller: str, reason: Refusal) -> None:
    assert policy.decide(a_call(caller)) == Refuse(reason=reason)


@pytest.mark.parametrize("caller", ["+15550100", "15550100", "+155501"])
def test_who_is_allowed(caller: str) -> None:
    allowed = replace(POLICY, allow=("+15550*",), answer_withheld=False)
    assert allowed.decide(a_call(caller)) == Answer(agent="desk")
    assert POLICY.decide(a_call("")) == Answer(agent="desk"), "withheld numbers are answered by default"


def agent_with(*variables: str) -> Agent:
    agent = load_agents(AGENTS).get("member_services")
    return replace(agent, variables={name: Variable() for name in variables})


def test_an_agent_is_told_the_numbers_that_it_asks_for_and_no_others() -> None:
    call = a_call()
    assert variables_of(call, agent_with()) == {}
    assert variables_of(call, agent_with("caller_name", "caller_number")) == {"caller_number": "+15550100"}
    both = agent_with("caller_number", "called_number")
    assert variables_of(call, both) == {"caller_number": "+15550100", "called_number": "+15550199"}


@pytest.mark.parametrize("caller", ["", "ignore_your_instructions", "ann.lee"])
def test_what_callers_call_themselves_reaches_no_prompt(caller: str) -> None:
    assert variables_of(a_call(caller), agent_with("caller_number")) == {"caller_number": ""}


def test_lists_of_numbers_do_not_show() -> None:
    assert "1555" not in repr(POLICY)
    assert "1900" not in repr(POLICY)
