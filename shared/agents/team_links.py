"""What agents say of each other: who hands over to whom, and which facts open which gates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.agents.handoff import PREFIX, Handoff, contract_reader, tool_name
from shared.agents.phone import Consent
from shared.agents.place import Place
from shared.agents.problems import Problem, did_you_mean
from shared.agents.scene import FROM_AGENT, PromptNames
from shared.agents.team_section import HandoffSection
from shared.mcp.server import McpServer
from shared.telephony.recording import Recording
from shared.tools.definition import Tool

_LONGEST_TOOL_NAME = 64


@dataclass(frozen=True, kw_only=True)
class Member:
    """An agent as the others see it.

    needed: variables that must be given. gates: facts that its file puts before tools, by the tool's name.
    consent: what callers hear first of it. recording: how its calls are recorded; each None for not at all.
    """

    name: str
    description: str
    place: Place
    tools: Mapping[str, Tool]
    servers: Mapping[str, McpServer]
    requires: tuple[str, ...]
    handoffs: tuple[HandoffSection, ...]
    gates: Mapping[str, tuple[str, ...]]
    needed: frozenset[str]
    environment: Mapping[str, str]
    model: str
    consent: Consent | None = None
    recording: Recording | None = None


class TeamLinks:
    """The agents of one directory. complete: whether every file of it could be read."""

    def __init__(self, members: Sequence[Member], *, complete: bool) -> None:
        self._members = {member.name: member for member in members}
        self.complete = complete
        self._facts = {
            fact for member in members for tool in member.tools.values() for fact in tool.sets_facts
        }

    def problems(self) -> Iterator[Problem]:
        """Yield what does not fit together, as far as that can be known."""
        for member in self._members.values():
            yield from self._handoff_problems(member)
            yield from self._gate_problems(member)
            yield from self._recording_problems(member)

    def names(self, member: Member) -> PromptNames:
        """Return what the agent's prompt may know."""
        context = {
            name
            for other in self._members.values()
            for handoff in other.handoffs
            if handoff.to == member.name
            for name in handoff.context
        }
        return PromptNames(environment=member.environment, facts=self._facts, context=context)

    def gated(self, member: Member) -> dict[str, Tool]:
        """Return the agent's tools with all facts that they need here."""
        return {
            name: dataclasses.replace(tool, requires=tuple(dict.fromkeys((*tool.requires, *gates))))
            if (gates := member.gates.get(name))
            else tool
            for name, tool in member.tools.items()
        }

    def handoffs(self, member: Member) -> Iterator[Handoff]:
        """Yield the agent's handoffs; those that lead nowhere are left out."""
        for written in member.handoffs:
            target = self._members.get(written.to)
            if target is None:
                continue
            context = {name: section.as_field() for name, section in written.context.items()}
            requires = tuple(dict.fromkeys((*written.requires, *target.requires)))
            yield Handoff(
                to=target.name,
                description=_description(written, target, requires),
                requires=requires,
                announce=written.announce,
                context=context,
                reader=contract_reader(context),
            )

    def reach(self, name: str) -> list[str]:
        """Return the agent and all that the call can be handed to from there."""
        found: dict[str, None] = {}
        waiting = [name]
        while waiting:
            here = waiting.pop()
            if here in found or here not in self._members:
                continue
            found[here] = None
            waiting.extend(handoff.to for handoff in self._members[here].handoffs)
        return list(found)

    def _handoff_problems(self, member: Member) -> Iterator[Problem]:
        place = member.place
        seen: set[str] = set()
        for at, written in enumerate(member.handoffs):
            field = f"handoffs[{at}].to"
            target = self._members.get(written.to)
            if written.to == member.name:
                yield place.problem(field, "an agent does not hand over to itself.", "Remove it.")
            elif target is None:
                if self.complete:
                    fix = did_you_mean(written.to, self._members.keys() - {member.name})
                    yield place.problem(field, f"there is no agent {written.to}.", fix)
            else:
                yield from self._fit_problems(member, target, field)
                yield from _said_twice(member, target, written, f"handoffs[{at}].announce")
            if tool_name(written.to) in seen:
                yield place.problem(field, f"{written.to} is there twice.", "Remove one.")
            seen.add(tool_name(written.to))
            if len(tool_name(written.to)) > _LONGEST_TOOL_NAME:
                most = _LONGEST_TOOL_NAME - len(PREFIX)
                yield place.problem(field, f"is too long to hand over to: at most {most} characters.")
            if tool_name(written.to) in member.tools:
                message = f"the agent has a tool called {tool_name(written.to)}."
                yield place.problem(field, message, "Give that one another name.")
            for name, section in written.context.items():
                here = f"handoffs[{at}].context.{name}"
                if name == FROM_AGENT:
                    yield place.problem(here, "is known anyway.", "Choose another name.")
                if section.type != "string" and (section.enum or section.pattern):
                    yield place.problem(here, "only a string takes an enum or a pattern.", "Leave it out.")

    def _fit_problems(self, member: Member, target: Member, field: str) -> Iterator[Problem]:
        place = member.place
        if missing := sorted(target.needed - member.needed):
            fix = "Give them defaults there, or require them here too."
            message = f"{target.name} needs the variables {', '.join(missing)}, which may not be given."
            yield place.problem(field, message, fix)
        if target.model and target.model != member.model:
            message = f"{target.name} wants the model {target.model}, and a call keeps the one it began with."
            yield place.problem(field, message, "Name the same model in both, or none.")

    def _recording_problems(self, member: Member) -> Iterator[Problem]:
        """Yield where agents of one call record it in different ways: it has one recording."""
        for name in self.reach(member.name) if member.recording else ():
            other = self._members[name].recording
            if other and other != member.recording:
                message = (
                    f"{name}, whom the call can be handed to, records {_how(other)}, and a call has one "
                    "recording."
                )
                yield member.place.problem("recording", message, "Record in the same way in both.")

    def _gate_problems(self, member: Member) -> Iterator[Problem]:
        place = member.place
        asked: list[tuple[str, str]] = [(f"requires[{at}]", fact) for at, fact in enumerate(member.requires)]
        for number, written in enumerate(member.handoffs):
            asked += [
                (f"handoffs[{number}].requires[{at}]", fact) for at, fact in enumerate(written.requires)
            ]
        for name, facts in member.gates.items():
            asked += [(f"gates.{name}[{at}]", fact) for at, fact in enumerate(facts)]
            if name not in member.tools:
                hint = did_you_mean(name, member.tools) or "It has none."
                yield place.problem(f"gates.{name}", f"the agent has no tool called {name}.", hint)
        asked += [("tools", fact) for tool in member.tools.values() for fact in tool.requires]
        for server in member.servers.values():
            asked += [(f"mcp_servers.{server.name}", fact) for fact in server.requires]
        for field, fact in dict.fromkeys(asked):
            if fact not in self._facts and self.complete:
                fix = did_you_mean(fact, self._facts) or "A tool sets it that names it in sets_facts."
                yield place.problem(field, f"no tool of any agent sets the fact {fact}.", fix)


def _said_twice(member: Member, target: Member, written: HandoffSection, field: str) -> Iterator[Problem]:
    """Yield where an announcement tells what the new agent's consent tells anyway, right after it."""
    if target.consent and Consent(announcement=written.announce).name == target.consent.name:
        message = f"is what {target.name} says first by its consent: callers would hear it twice."
        yield member.place.problem(field, message, "Leave it out.")


def _how(recording: Recording) -> str:
    return f"{recording.channels} {recording.format}"


def _description(written: HandoffSection, target: Member, requires: tuple[str, ...]) -> str:
    told = [f"Hand the call to {target.name}: {target.description}", written.description.strip()]
    if requires:
        told.append(f"Needs first: {', '.join(requires)}.")
    return " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in told if part)
