"""Which agent answers where the caller's application, or the policy for phone calls, leaves that to rules.

The rules stand in `agents.router.yaml` beside the agents; the first one that fits decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.errors import InvalidRequestError
from shared.telephony.addresses import matches
from shared.telephony.hours import OpeningHours

# Named in place of an agent, it asks the rules.
ROUTER = "router"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Somebody who is to be answered. called, caller: addresses of a phone call, "" elsewhere.

    language: ISO 639-1 code that the caller's application names, "" where it does not.
    """

    at: datetime
    called: str = field(default="", repr=False)
    caller: str = field(default="", repr=False)
    language: str = ""
    variables: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True, kw_only=True)
class Route:
    """This agent answers where every condition holds that is given.

    called, caller: patterns of numbers, one of which fits. languages: one of these.
    variables: each has one of these values. hours: it is open then.
    """

    agent: str
    called: tuple[str, ...] = field(default=(), repr=False)
    caller: tuple[str, ...] = field(default=(), repr=False)
    languages: tuple[str, ...] = ()
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    hours: OpeningHours | None = None

    def fits(self, arrival: Arrival) -> bool:
        """Return whether all conditions hold."""
        return (
            _any_matches(arrival.called, self.called)
            and _any_matches(arrival.caller, self.caller)
            and (not self.languages or arrival.language in self.languages)
            and all(arrival.variables.get(name) in values for name, values in self.variables.items())
            and (self.hours is None or self.hours.is_open(arrival.at))
        )


@dataclass(frozen=True, kw_only=True)
class Router:
    """The rules, in order."""

    routes: tuple[Route, ...] = ()

    def choose(self, arrival: Arrival) -> str:
        """Return the agent that answers; raise InvalidRequestError `no_route` where no rule fits."""
        for route in self.routes:
            if route.fits(arrival):
                return route.agent
        told = "No rule of agents.router.yaml fits" if self.routes else "There is no agents.router.yaml"
        raise InvalidRequestError("no_route", f"{told}: name an agent, or add a rule without conditions.")


def _any_matches(address: str, patterns: Iterable[str]) -> bool:
    listed = list(patterns)
    return not listed or any(matches(address, pattern) for pattern in listed)
