"""The rules for who answers as written, `agents.router.yaml` beside the agents, and their checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import ErrorDetails

from shared.agents.catalog import AgentCatalog
from shared.agents.definition_file import read_definition
from shared.agents.place import Place
from shared.agents.problems import AgentLoadError, Problem, did_you_mean
from shared.agents.router import ROUTER, Route, Router
from shared.agents.yaml_source import Location, YamlDocument, field_name
from shared.telephony.hours import WEEKDAYS, OpeningHours, parse_span
from shared.telephony.policy_file import DaySpan, Pattern, ZoneName

ROUTER_FILE = "agents.router.yaml"

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class OpenSection(_Section):
    time_zone: ZoneName
    monday: list[DaySpan] = Field(default_factory=list[str])
    tuesday: list[DaySpan] = Field(default_factory=list[str])
    wednesday: list[DaySpan] = Field(default_factory=list[str])
    thursday: list[DaySpan] = Field(default_factory=list[str])
    friday: list[DaySpan] = Field(default_factory=list[str])
    saturday: list[DaySpan] = Field(default_factory=list[str])
    sunday: list[DaySpan] = Field(default_factory=list[str])

    def opening_hours(self) -> OpeningHours:
        days: list[list[str]] = [getattr(self, day) for day in WEEKDAYS]
        spans = tuple(tuple(parse_span(span) for span in day) for day in days)
        return OpeningHours(zone=ZoneInfo(self.time_zone), days=spans)


class RuleSection(_Section):
    """One rule; without a condition it always fits."""

    agent: str
    called: list[Pattern] = Field(default_factory=list[str])
    caller: list[Pattern] = Field(default_factory=list[str])
    language: list[Language] = Field(default_factory=list[str])
    variables: dict[str, list[str]] = Field(default_factory=dict[str, list[str]])
    hours: OpenSection | None = None


class RouterFile(_Section):
    rules: list[RuleSection]


_SECTIONS: dict[str, type[BaseModel]] = {"rules": RuleSection, "hours": OpenSection}


def load_router(directory: str | Path, agents: AgentCatalog) -> Router:
    """Return the rules of an agents directory; none where there is no file.

    Raises AgentLoadError with everything that is wrong with it.
    """
    file = Path(directory) / ROUTER_FILE
    if not file.exists():
        return Router()
    written, document = read_definition(file, RouterFile, explain=_problem, refuse=AgentLoadError)
    problems = list(_agent_problems(written, agents, Place(file, document)))
    if problems:
        raise AgentLoadError(problems)
    return Router(
        routes=tuple(
            Route(
                agent=rule.agent,
                called=tuple(rule.called),
                caller=tuple(rule.caller),
                languages=tuple(rule.language),
                variables={name: tuple(values) for name, values in rule.variables.items()},
                hours=rule.hours.opening_hours() if rule.hours else None,
            )
            for rule in written.rules
        )
    )


def _agent_problems(written: RouterFile, agents: AgentCatalog, place: Place) -> Iterator[Problem]:
    if ROUTER in agents.names:
        yield place.problem("rules", f"an agent is called {ROUTER}, which asks these rules.", "Rename it.")
    for at, rule in enumerate(written.rules):
        field = f"rules[{at}].agent"
        if rule.agent not in agents.names:
            fix = did_you_mean(rule.agent, agents.names)
            yield place.problem(field, f"there is no agent {rule.agent!r}.", fix)
        elif required := agents.get(rule.agent).requires:
            message = f"{rule.agent} takes over only with {', '.join(required)}, which no call begins with."
            yield place.problem(field, message, "Name the agent that hands over to it.")
        conditions = (rule.called, rule.caller, rule.language, rule.variables, rule.hours)
        if not any(conditions) and at + 1 < len(written.rules):
            yield place.problem(f"rules[{at}]", "always fits; the rules below it never do.", "Move it last.")


def _problem(details: ErrorDetails, document: YamlDocument, file: Path) -> Problem:
    location: Location = tuple(part for part in details["loc"] if part != "[key]")
    last = str(location[-1]) if location else ""
    around = (_SECTIONS[str(part)] for part in reversed(location[:-1]) if part in _SECTIONS)
    section = next(around, RouterFile)
    match details["type"]:
        case "extra_forbidden":
            message, fix = "is not a known field.", did_you_mean(last, section.model_fields)
        case "missing":
            message, fix = "is missing.", ""
        case "list_type":
            message, fix = "must be a list.", 'Write, for example: ["+15550199"]'
        case "value_error":
            message, fix = str((details.get("ctx") or {}).get("error", details["msg"])), ""
        case "string_pattern_mismatch":
            message, fix = "must be a two-letter ISO 639-1 code in lower case, such as en.", ""
        case _:
            message, fix = f"{details['msg'].removeprefix('Input ')}.", ""
    line = document.line_of(location)
    return Problem(file=file, line=line, field=field_name(location), message=message, fix=fix)
