"""Which calls are answered, and by which agent. The same for every carrier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from shared.telephony.addresses import is_number, matches, without_plus
from shared.telephony.calls import InboundCall, Refusal
from shared.telephony.hours import OpeningHours
from shared.telephony.outbound import OutboundPolicy, Target

if TYPE_CHECKING:
    from shared.agents.agent import Agent

CALLER_NUMBER = "caller_number"
CALLED_NUMBER = "called_number"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """This agent answers. `rule` is a word for the log: number, default_agent or closed."""

    agent: str
    rule: str


@dataclass(frozen=True, kw_only=True)
class Redirect:
    """The call goes to somebody else, unanswered. `rule`: number or closed."""

    target: Target
    rule: str


@dataclass(frozen=True, kw_only=True)
class Refuse:
    """Nobody answers."""

    reason: Refusal


Decision: TypeAlias = Answer | Redirect | Refuse


@dataclass(frozen=True, kw_only=True)
class InboundPolicy:
    """What is done with calls that come in. Without anything set, none is answered.

    numbers: agents by called address, without the plus of a number.
    default_agent: who answers every other called address; "" for nobody.
    deny, allow: patterns of callers' numbers; denial is stronger, and an empty `allow` lets everybody in.
    answer_withheld: whether callers without a number are answered; never where `allow` names who is.
    max_live_calls: how many calls may be live at a time; None leaves it to the workers' room.
    redirects: whom called addresses are redirected to, without the plus of a number.
    hours: when calls are answered; None for always. closed: what happens then; None refuses.
    outbound: whom we may call; it stands in the same file.
    """

    numbers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    default_agent: str = ""
    deny: tuple[str, ...] = field(default=(), repr=False)
    allow: tuple[str, ...] = field(default=(), repr=False)
    answer_withheld: bool = True
    max_live_calls: int | None = None
    redirects: Mapping[str, Target] = field(default_factory=dict[str, Target], repr=False)
    hours: OpeningHours | None = None
    closed: Answer | Redirect | None = None
    outbound: OutboundPolicy = field(default_factory=OutboundPolicy)

    def decide(self, call: InboundCall, at: datetime) -> Decision:
        """Return what shall happen to `call`, which rings `at` this moment (aware of its time zone)."""
        if any(matches(call.caller, pattern) for pattern in self.deny):
            return Refuse(reason=Refusal.CALLER_DENIED)
        if not is_number(call.caller) and not self.answer_withheld:
            return Refuse(reason=Refusal.CALLER_WITHHELD)
        if self.allow and not any(matches(call.caller, pattern) for pattern in self.allow):
            return Refuse(reason=Refusal.CALLER_NOT_ALLOWED)
        decision = self._by_number(without_plus(call.called))
        if isinstance(decision, Refuse) or self.hours is None or self.hours.is_open(at):
            return decision
        return self.closed or Refuse(reason=Refusal.CLOSED)

    def _by_number(self, called: str) -> Decision:
        if target := self.redirects.get(called):
            return Redirect(target=target, rule="number")
        if agent := self.numbers.get(called):
            return Answer(agent=agent, rule="number")
        if self.default_agent:
            return Answer(agent=self.default_agent, rule="default_agent")
        return Refuse(reason=Refusal.NUMBER_NOT_SERVED)


def variables_of(call: InboundCall, agent: Agent) -> dict[str, str]:
    """Return what the agent's prompt may know of the call: numbers, and only those that it declares.

    A number that is withheld, or an address that is none, is "". Names that callers give themselves
    never get into a prompt.
    """
    known = {CALLER_NUMBER: call.caller, CALLED_NUMBER: call.called}
    return {
        name: address if is_number(address) else ""
        for name, address in known.items()
        if name in agent.variables
    }
