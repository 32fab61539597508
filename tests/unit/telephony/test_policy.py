"""Who is answered, by whom, and what the agent is told of the caller."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from shared.agents.agent import Agent, Variable
from shared.agents.catalog import load_agents
from shared.errors import SidetoneError
from shared.session.model import Transport
from shared.telephony.calls import InboundCall, Refusal
from shared.telephony.hours import OpeningHours, Span, parse_span
from shared.telephony.outbound import OutboundPolicy, Target, parse_target
from shared.telephony.policy import Answer, InboundPolicy, Redirect, Refuse, variables_of

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)  # a Monday
AT_THE_DESK = Answer(agent="desk", rule="number")
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
    assert POLICY.decide(a_call(called=called), NOW) == Answer(
        agent=agent, rule="default_agent" if agent == "else" else "number"
    )


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
    assert policy.decide(a_call(caller), NOW) == Refuse(reason=reason)


@pytest.mark.parametrize("caller", ["+15550100", "15550100", "+155501"])
def test_who_is_allowed(caller: str) -> None:
    allowed = replace(POLICY, allow=("+15550*",), answer_withheld=False)
    assert allowed.decide(a_call(caller), NOW) == AT_THE_DESK
    assert POLICY.decide(a_call(""), NOW) == AT_THE_DESK, "withheld numbers are answered by default"


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


BERLIN = ZoneInfo("Europe/Berlin")
NINE_TO_FIVE = (Span(opens=540, closes=1020),)
HOURS = OpeningHours(zone=BERLIN, days=(NINE_TO_FIVE,) * 5 + ((), ()))
ELSEWHERE = Redirect(target=Target(address="+15550111"), rule="closed")


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-23T08:00:00+00:00", True),  # Monday, 09:00 in Berlin
        ("2026-11-23T07:59:59+00:00", False),
        ("2026-11-23T15:59:59+00:00", True),
        ("2026-11-23T16:00:00+00:00", False),
        ("2026-07-20T07:00:00+00:00", True),  # summer: two hours ahead
        ("2026-07-20T15:00:00+00:00", False),
        ("2026-11-22T10:00:00+00:00", False),  # Sunday
        ("2026-11-23T23:30:00+14:00", True),  # still Monday morning in Berlin
    ],
)
def test_hours_are_those_of_the_place(at: str, is_open: bool) -> None:
    assert HOURS.is_open(datetime.fromisoformat(at)) is is_open


def test_a_day_can_be_open_to_its_end_and_the_hour_that_comes_twice_is_open_twice() -> None:
    night = OpeningHours(zone=BERLIN, days=((parse_span("22:00-24:00"), parse_span("00:00-02:30")),) * 7)
    for at in ("2026-10-25T00:15:00+00:00", "2026-10-25T01:15:00+00:00", "2026-11-23T22:59:59+00:00"):
        assert night.is_open(datetime.fromisoformat(at)), at
    assert not night.is_open(datetime.fromisoformat("2026-10-25T01:30:00+00:00"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("9-17", "two times"),
        ("09:00", "two times"),
        ("09:00-25:00", "two times"),
        ("09:00-24:30", "ends after its day"),
        ("17:00-09:00", "ends before it begins"),
        ("09:00-09:00", "ends before it begins"),
    ],
)
def test_what_is_no_part_of_a_day(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_span(text)


def test_outside_of_the_hours_an_agent_a_redirect_or_nobody_answers() -> None:
    open_at, closed_at = NOW, NOW.replace(hour=20)
    policy = replace(POLICY, hours=HOURS)
    assert policy.decide(a_call(), open_at) == AT_THE_DESK
    assert policy.decide(a_call(), closed_at) == Refuse(reason=Refusal.CLOSED)
    night = Answer(agent="night", rule="closed")
    assert replace(policy, closed=night).decide(a_call(), closed_at) == night
    assert replace(policy, closed=ELSEWHERE).decide(a_call(), closed_at) == ELSEWHERE
    assert replace(policy, closed=night).decide(a_call("+15550666"), closed_at) == Refuse(
        reason=Refusal.CALLER_DENIED
    )
    assert replace(policy, default_agent="", numbers={}, closed=night).decide(a_call(), closed_at) == Refuse(
        reason=Refusal.NUMBER_NOT_SERVED
    )


def test_a_number_can_lead_elsewhere() -> None:
    target = Target(address="+15550111")
    policy = replace(POLICY, redirects={"15550142": target})
    assert policy.decide(a_call(called="+15550142"), NOW) == Redirect(target=target, rule="number")
    assert "15550111" not in repr(policy)


OUTBOUND = OutboundPolicy(
    allow=("+1*", "+4930123"), deny=("+1900*",), users=("8:acs:ann",), caller_ids=("+15550142",)
)


def refusal(policy: OutboundPolicy, target: str) -> str:
    with pytest.raises(SidetoneError) as caught:
        policy.check(parse_target(target))
    assert not target or target not in str(caught.value), "numbers are personal data"
    return caught.value.code


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("+49301234", "callee_not_allowed"),
        ("+19005550100", "callee_not_allowed"),
        ("+447000000000", "callee_not_allowed"),
        ("8:acs:bob", "callee_not_allowed"),
        ("sip:ann@example", "callee_not_allowed"),
        ("5550100", "invalid_target"),
        ("anonymous", "invalid_target"),
        ("", "invalid_target"),
        ("8:acs:a b", "invalid_target"),
        ("8:" + "x" * 300, "invalid_target"),
    ],
)
def test_only_who_is_named_may_be_called(target: str, code: str) -> None:
    assert refusal(OUTBOUND, target) == code
    for allowed in ("+1 555 0100", "+4930123", "8:acs:ann"):
        OUTBOUND.check(parse_target(allowed))


def test_without_a_policy_nobody_may_be_called() -> None:
    for target in ("+15550100", "+4930123", "8:acs:ann"):
        assert refusal(InboundPolicy().outbound, target) == "callee_not_allowed"


def test_only_our_own_numbers_are_shown() -> None:
    own = "+15550199"
    assert OUTBOUND.check_caller_id("", own) == own
    assert OUTBOUND.check_caller_id(own, own) == own
    assert OUTBOUND.check_caller_id("+15550142", own) == "+15550142"
    for number, ours, code in (("+15550666", own, "caller_id_not_allowed"), ("", "", "caller_id_missing")):
        with pytest.raises(SidetoneError) as caught:
            OUTBOUND.check_caller_id(number, ours)
        assert caught.value.code == code
