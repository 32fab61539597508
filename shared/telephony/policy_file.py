"""The policy for inbound calls as written, `telephony.policy.yaml` beside the agents, and its checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails

from shared.agents.definition_file import read_definition
from shared.agents.problems import Problem, did_you_mean
from shared.agents.router import ROUTER
from shared.agents.yaml_source import Location, YamlDocument, field_name
from shared.errors import InvalidRequestError, SidetoneError
from shared.telephony.addresses import address_of, is_number, is_pattern, without_plus
from shared.telephony.hours import WEEKDAYS, OpeningHours, Span, parse_span
from shared.telephony.outbound import OutboundPolicy, parse_target
from shared.telephony.policy import CALLED_NUMBER, CALLER_NUMBER, Answer, InboundPolicy, Redirect

if TYPE_CHECKING:
    from shared.agents.catalog import AgentCatalog

POLICY_FILE = "telephony.policy.yaml"


class PolicyLoadError(SidetoneError):
    """The policy can't be used. `problems` holds everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.field)))
        super().__init__("telephony_policy_invalid", "\n".join(str(problem) for problem in self.problems))


def _called(text: str) -> str:
    address = address_of(text)
    if not address or (is_number(address) and not address.startswith("+")):
        raise ValueError(
            'must be a number with its country, as in "+15550199", or the user of a SIP address.'
        )
    return without_plus(address)


def _pattern(text: str) -> str:
    if not is_pattern(text):
        raise ValueError('must be a number with its country, as in "+15550100", or a beginning: "+1900*".')
    return text


def _number(text: str) -> str:
    address = address_of(text)
    if not is_number(address) or not address.startswith("+"):
        raise ValueError('must be a number with its country, as in "+15550199".')
    return address


def _target(text: str) -> str:
    try:
        return parse_target(text).address
    except InvalidRequestError:
        raise ValueError(
            'must be a number with its country, as in "+15550199", or a user: 8:acs:….'
        ) from None


def _user(text: str) -> str:
    if _target(text).startswith("+"):
        raise ValueError("is a number; name it under allow.")
    return text.strip()


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError('must be a time zone of the IANA database, as in "Europe/Berlin".') from None
    return text


def _span(text: str) -> str:
    parse_span(text)
    return text


Called = Annotated[str, AfterValidator(_called)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Number = Annotated[str, AfterValidator(_number)]
TargetName = Annotated[str, AfterValidator(_target)]
UserName = Annotated[str, AfterValidator(_user)]
DaySpan = Annotated[str, AfterValidator(_span)]
ZoneName = Annotated[str, AfterValidator(_zone)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class CallersSection(_Section):
    deny: list[Pattern] = Field(default_factory=list[str])
    allow: list[Pattern] = Field(default_factory=list[str])
    withheld: Literal["answer", "refuse"] = "answer"


class ClosedSection(_Section):
    """What happens outside of the hours: an agent answers, or the call goes elsewhere."""

    agent: str = ""
    redirect: TargetName = ""


class HoursSection(_Section):
    time_zone: ZoneName
    monday: list[DaySpan] = Field(default_factory=list[str])
    tuesday: list[DaySpan] = Field(default_factory=list[str])
    wednesday: list[DaySpan] = Field(default_factory=list[str])
    thursday: list[DaySpan] = Field(default_factory=list[str])
    friday: list[DaySpan] = Field(default_factory=list[str])
    saturday: list[DaySpan] = Field(default_factory=list[str])
    sunday: list[DaySpan] = Field(default_factory=list[str])
    closed: ClosedSection = ClosedSection()


class OutboundSection(_Section):
    allow: list[Pattern] = Field(default_factory=list[str])
    deny: list[Pattern] = Field(default_factory=list[str])
    users: list[UserName] = Field(default_factory=list[str])
    caller_ids: list[Number] = Field(default_factory=list[str])
    max_live_calls: int | None = Field(default=None, ge=1)


class PolicyFile(_Section):
    """The policy, as written. What a field means is told by shared.telephony.policy.InboundPolicy."""

    numbers: dict[Called, str] = Field(default_factory=dict[str, str])
    redirects: dict[Called, TargetName] = Field(default_factory=dict[str, str])
    default_agent: str = ""
    callers: CallersSection = CallersSection()
    hours: HoursSection | None = None
    max_live_calls: int | None = Field(default=None, ge=1)
    outbound: OutboundSection = OutboundSection()


_SECTIONS: Mapping[Location, type[_Section]] = {
    (): PolicyFile,
    ("callers",): CallersSection,
    ("hours",): HoursSection,
    ("hours", "closed"): ClosedSection,
    ("outbound",): OutboundSection,
}
_MAPPINGS = ("numbers", "redirects")


def load_policy(directory: str | Path, agents: AgentCatalog) -> InboundPolicy:
    """Return the policy of an agents directory; one that answers no call where there is no file.

    Raises PolicyLoadError with everything that is wrong with it.
    """
    file = Path(directory) / POLICY_FILE
    if not file.exists():
        return InboundPolicy()
    written, document = read_definition(file, PolicyFile, explain=_problem, refuse=PolicyLoadError)
    problems = list(_agent_problems(written, document, agents, file))
    if problems:
        raise PolicyLoadError(problems)
    return InboundPolicy(
        numbers=written.numbers,
        default_agent=written.default_agent,
        deny=tuple(written.callers.deny),
        allow=tuple(written.callers.allow),
        answer_withheld=written.callers.withheld == "answer",
        max_live_calls=written.max_live_calls,
        redirects={called: parse_target(name) for called, name in written.redirects.items()},
        hours=_hours(written.hours) if written.hours else None,
        closed=_closed(written.hours.closed) if written.hours else None,
        outbound=OutboundPolicy(
            allow=tuple(written.outbound.allow),
            deny=tuple(written.outbound.deny),
            users=tuple(written.outbound.users),
            caller_ids=tuple(written.outbound.caller_ids),
            max_live_calls=written.outbound.max_live_calls,
        ),
    )


def _hours(written: HoursSection) -> OpeningHours:
    days: list[tuple[Span, ...]] = []
    for day in WEEKDAYS:
        spans: list[str] = getattr(written, day)
        days.append(tuple(parse_span(span) for span in spans))
    return OpeningHours(zone=ZoneInfo(written.time_zone), days=tuple(days))


def _closed(written: ClosedSection) -> Answer | Redirect | None:
    if written.redirect:
        return Redirect(target=parse_target(written.redirect), rule="closed")
    return Answer(agent=written.agent, rule="closed") if written.agent else None


def _agent_problems(
    written: PolicyFile, document: YamlDocument, agents: AgentCatalog, file: Path
) -> Iterable[Problem]:
    """Yield what keeps an agent from answering: it is unknown, or needs what no call tells."""
    named: list[tuple[Location, str]] = []
    seen: set[str] = set()
    for location in document.lines:
        if len(location) != 2 or location[0] not in _MAPPINGS:
            continue
        called = _called(str(location[1]))
        if called in seen:
            message = "is there twice, perhaps written in another way."
            line = document.line_of(location)
            yield Problem(file=file, line=line, field=field_name(location), message=message)
        seen.add(called)
        if location[0] == "numbers":
            named.append((location, written.numbers[called]))
    if written.default_agent:
        named.append((("default_agent",), written.default_agent))
    closed = written.hours.closed if written.hours else ClosedSection()
    if closed.agent:
        named.append((("hours", "closed", "agent"), closed.agent))
    if closed.agent and closed.redirect:
        location = ("hours", "closed")
        message = "names an agent and a redirect; leave one out."
        yield Problem(file=file, line=document.line_of(location), field=field_name(location), message=message)
    for location, name in named:
        line, field = document.line_of(location), field_name(location)
        if name == ROUTER:
            if not (file.parent / "agents.router.yaml").is_file():
                message, fix = "asks agents.router.yaml, which is not there.", "Write it, or name an agent."
                yield Problem(file=file, line=line, field=field, message=message, fix=fix)
            continue
        if name in agents.names and (required := agents.get(name).requires):
            message = f"{name} takes over only with {', '.join(required)}, which no call begins with."
            fix = "Name the agent that hands over to it."
            yield Problem(file=file, line=line, field=field, message=message, fix=fix)
        if name not in agents.names:
            message, fix = f"there is no agent {name!r}.", did_you_mean(name, agents.names)
            yield Problem(file=file, line=line, field=field, message=message, fix=fix)
            continue
        needed = [
            variable
            for variable, declared in agents.get(name).variables.items()
            if declared.default is None and variable not in (CALLER_NUMBER, CALLED_NUMBER)
        ]
        if needed:
            message = f"{name} needs the variables {', '.join(needed)}, which no call brings."
            yield Problem(file=file, line=line, field=field, message=message, fix="Give them defaults.")


def check_destinations(directory: str | Path, agents: AgentCatalog, policy: InboundPolicy) -> None:
    """Raise PolicyLoadError for what agents' telephone tools could never call: they find out with a caller.

    It keeps no other call from being answered, so it belongs to a check and not to loading.
    """
    file = Path(directory) / POLICY_FILE
    problems: list[Problem] = []
    for agent in agents:
        for field, named in (("transfer_to", agent.transfer_to), ("participants", agent.participants)):
            for name, destination in named.items():
                try:
                    policy.outbound.check(destination.target)
                except SidetoneError:
                    message = f"does not allow {field}.{name} of the agent {agent.name}."
                    fix = "Name the number under allow, or the user under users."
                    problems.append(Problem(file=file, line=0, field="outbound", message=message, fix=fix))
    if problems:
        raise PolicyLoadError(problems)


def _problem(details: ErrorDetails, document: YamlDocument, file: Path) -> Problem:
    location: Location = ()
    for part in details["loc"]:  # pydantic names a mapping's key by one more part
        if part != "[key]":
            location = (*location, part)
    message, fix = _told(details, location)
    line = document.line_of(location)
    return Problem(file=file, line=line, field=field_name(location), message=message, fix=fix)


def _told(details: ErrorDetails, location: Location) -> tuple[str, str]:
    last = str(location[-1]) if location else ""
    match details["type"]:
        case "extra_forbidden":
            return "is not a known field.", did_you_mean(last, _SECTIONS[location[:-1]].model_fields)
        case "missing":
            return "is missing.", ""
        case "string_type" if location[0] != "default_agent":
            return "must be text.", 'Put a number in quotes: "+15550100".'
        case "string_type":
            return "must be text.", ""
        case "value_error":
            return str((details.get("ctx") or {}).get("error", details["msg"])), ""
        case "literal_error":
            return "must be answer or refuse.", ""
        case "model_type" | "dict_type":
            return "must be a mapping of fields.", ""
        case "list_type":
            return "must be a list.", "Begin each entry with a dash."
        case _:
            return f"{details['msg'].removeprefix('Input ')}.", ""
