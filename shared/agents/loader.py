"""From an agents directory's files to agents: each file by itself first, then what they say of each other."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.agents.agent import Agent, AgentLimits, SemanticVad, ServerVad, TurnDetection, Variable
from shared.agents.agent_file import AgentFile, SemanticVadSection, ServerVadSection, read_agent_file
from shared.agents.call_tools import CALL_MODULE, find_call_tool, record_consent_tool
from shared.agents.handoff import Handoff
from shared.agents.mcp_section import mcp_servers
from shared.agents.place import Place
from shared.agents.problems import AgentLoadError, Problem, did_you_mean
from shared.agents.prompt import Prompt, PromptLibrary
from shared.agents.scene import NAMESPACES, NOWHERE, PromptNames
from shared.agents.team_links import Member, TeamLinks
from shared.agents.tool_modules import ToolModules, ToolReferenceError
from shared.agents.yaml_source import YamlSourceError, read_yaml
from shared.errors import SidetoneError
from shared.tools.definition import Tool


def load_all(root: Path, files: Sequence[Path]) -> list[Agent]:
    """Return the agents in `files`. Raises AgentLoadError with everything that is wrong with all of them."""
    loader = _Loader(root)
    drafts = [draft for file in files if (draft := loader.read(file)) is not None]
    links = TeamLinks([draft.member for draft in drafts], complete=len(drafts) == len(files))
    loader.problems += links.problems()
    agents = {draft.member.name: loader.finish(draft, links) for draft in drafts}
    if loader.problems:
        raise AgentLoadError(dict.fromkeys(loader.problems))
    files_of = {draft.member.name: loader.files_of(draft) for draft in drafts}
    return [
        dataclasses.replace(
            agent, version=_digest(root, [file for near in links.reach(name) for file in files_of[near]])
        )
        for name, agent in agents.items()
        if agent is not None
    ]


@dataclass(kw_only=True)
class _Draft:
    """An agent whose own file has been read."""

    written: AgentFile
    member: Member
    prompt: Prompt | None = None

    @property
    def place(self) -> Place:
        return self.member.place


class _Loader:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._prompts = PromptLibrary(root)
        self._tools = ToolModules(root / "tools")
        self._named: dict[str, Path] = {}
        self.problems: list[Problem] = [
            Problem(
                file=file,
                line=0,
                field="",
                message=f"the module name {CALL_MODULE} is taken by the telephone tools.",
                fix="Choose another.",
            )
            for file in (root / "tools" / f"{CALL_MODULE}.py", root / "tools" / CALL_MODULE / "__init__.py")
            if file.is_file()
        ]

    def read(self, file: Path) -> _Draft | None:
        """Return what `file` says by itself; None when it can't be read. All problems are in `problems`."""
        try:
            document = read_yaml(file.read_bytes())
        except YamlSourceError as error:
            self.problems += [
                Problem(file=file, line=found.line, field=found.field, message=found.message)
                for found in error.problems
            ]
            return None
        written, problems = read_agent_file(document, file)
        self.problems += problems
        if written is None:
            return None
        place = Place(file, document)
        before = len(self.problems)
        self._check_name(written, place)
        self._check_spoken(written, place)
        self._check_variables(written, place)
        self._check_guardrails(written, place)
        self.problems += [place.problem(*found) for found in written.problems(written.tools)]
        environment = self._environment(written, place)
        servers = mcp_servers(written.mcp_servers)
        tools = self._find_tools(written, place)
        if len(self.problems) > before:
            self._prompt(written, place, PromptNames(environment=environment), complete=False)
            return None
        member = Member(
            name=written.name,
            description=written.description,
            place=place,
            tools=tools,
            servers=servers,
            requires=tuple(written.requires),
            handoffs=tuple(written.handoffs),
            gates={name: tuple(facts) for name, facts in written.gates.items()},
            needed=frozenset(
                name for name, variable in written.variables.items() if variable.default is None
            ),
            environment=environment,
            model=written.model or "",
            consent=written.consent_terms(),
            recording=written.recorded(),
        )
        return _Draft(written=written, member=member)

    def finish(self, draft: _Draft, links: TeamLinks) -> Agent | None:
        """Return the agent, or None when it has problems, which are then in `problems`."""
        written, member = draft.written, draft.member
        names = links.names(member)
        prompt = self._prompt(written, draft.place, names, complete=links.complete)
        if prompt is None:
            return None
        draft.prompt = prompt
        handoffs: dict[str, Handoff] = {handoff.tool_name: handoff for handoff in links.handoffs(member)}
        return Agent(
            name=written.name,
            version="",
            description=written.description,
            voice=written.voice,
            language=written.language,
            greeting=written.greeting.strip(),
            prompt=prompt,
            variables={
                name: Variable(description=found.description, default=found.default)
                for name, found in written.variables.items()
            },
            tools=links.gated(member),
            mcp_servers=member.servers,
            turn_detection=_turn_detection(written.turn_detection),
            farewell=written.farewell.strip(),
            limits=AgentLimits(
                max_duration_s=written.limits.max_duration_s,
                idle_s=written.limits.idle_s,
                max_tokens=written.limits.max_tokens,
                max_cost=written.limits.max_cost,
                max_turns=written.limits.max_turns,
                max_handoffs=written.limits.max_handoffs,
            ),
            max_output_tokens=written.max_output_tokens,
            transfer_to=written.destinations(),
            participants=written.invited(),
            consent=written.consent_terms(),
            recording=written.recorded(),
            requires=member.requires,
            handoffs=handoffs,
            guardrails=tuple(found.as_guardrail() for found in written.guardrails),
            names=names,
            model=written.model_settings(),
        )

    def files_of(self, draft: _Draft) -> list[Path]:
        """Return the files that make the agent."""
        prompts = draft.prompt.files if draft.prompt else ()
        return [draft.place.file, *prompts, *(self._tools.files if draft.member.tools else ())]

    def _check_name(self, written: AgentFile, place: Place) -> None:
        first = self._named.setdefault(written.name, place.file)
        if first != place.file:
            self.problems.append(
                place.problem("name", f"{written.name} is taken by {first.name}.", "Choose another.")
            )

    def _check_spoken(self, written: AgentFile, place: Place) -> None:
        said = [("greeting", written.greeting), ("farewell", written.farewell), *written.spoken()]
        said += [(f"handoffs[{at}].announce", found.announce) for at, found in enumerate(written.handoffs)]
        said += [(f"guardrails[{at}].say", found.say) for at, found in enumerate(written.guardrails)]
        for field, words in said:
            if "{{" in words or "{%" in words:
                self.problems.append(
                    place.problem(
                        field, "is spoken as it stands, braces and all.", "Use variables in the prompt."
                    )
                )

    def _check_variables(self, written: AgentFile, place: Place) -> None:
        for name in written.variables:
            if name in NAMESPACES:
                message = f"{name} is what prompts know already, as in {name}.…"
                self.problems.append(place.problem(f"variables.{name}", message, "Choose another name."))

    def _check_guardrails(self, written: AgentFile, place: Place) -> None:
        seen: set[str] = set()
        for at, found in enumerate(written.guardrails):
            if not found.phrases and not found.pattern:
                example = 'phrases: ["guaranteed cure"]'
                message = "says nothing about what must not be said."
                problem = place.problem(f"guardrails[{at}]", message, f"Write, for example: {example}")
                self.problems.append(problem)
            if found.name in seen:
                message = f"{found.name} is there twice."
                self.problems.append(place.problem(f"guardrails[{at}].name", message, "Choose another."))
            seen.add(found.name)

    def _environment(self, written: AgentFile, place: Place) -> dict[str, str]:
        found: dict[str, str] = {}
        for at, name in enumerate(written.environment):
            value = os.environ.get(name)
            if value is None:
                fix = "Set it for the Functions app and the worker, or leave it out."
                self.problems.append(place.problem(f"environment[{at}]", f"{name} is not set.", fix))
            found[name] = value or ""
        return found

    def _prompt(
        self, written: AgentFile, place: Place, names: PromptNames, *, complete: bool
    ) -> Prompt | None:
        """Return the prompt. complete: whether all agents are known, and so all facts and contexts."""
        known: dict[str, Collection[str] | None] = dict(names.known())
        if not complete:
            known.update(facts=None, handoff=None)
        if (written.prompt is None) == (written.instructions is None):
            fix = "Write prompt: with a file's name, or instructions: | with the text itself."
            self.problems.append(place.problem("prompt", "needs to be one of two.", fix))
            return None
        if written.instructions is not None:
            field, line = "instructions", place.line_of("instructions")
            text = written.instructions
            prompt, problems = self._prompts.load_text(text, place.file, line, written.variables, known)
        else:
            field = "prompt"
            name = written.prompt or ""
            try:
                prompt, problems = self._prompts.load(name, written.variables, known)
            except FileNotFoundError:
                self.problems.append(self._no_prompt(name, place))
                return None
        self.problems += problems
        defaults = {
            name: found.default for name, found in written.variables.items() if found.default is not None
        }
        if prompt is not None and complete and len(defaults) == len(written.variables):
            agent = {"name": written.name, "description": written.description, "language": written.language}
            try:
                if not prompt.render({**defaults, **names.values(NOWHERE, agent)}):
                    self.problems.append(place.problem(field, f"{written.prompt or 'it'} is empty."))
            except SidetoneError as error:
                self.problems.append(place.problem(field, error.detail))
        return prompt

    def _no_prompt(self, name: str, place: Place) -> Problem:
        templates = [
            file.relative_to(self._root).as_posix()
            for file in self._root.glob("prompts/**/*")
            if file.is_file()
        ]
        fix = did_you_mean(name, templates) or "Create it."
        return place.problem("prompt", f"there is no file {name} in {self._root.name}/.", fix)

    def _find_tools(self, written: AgentFile, place: Place) -> dict[str, Tool]:
        found: dict[str, Tool] = {}
        for at, reference in enumerate(written.tools):
            field = f"tools[{at}]"
            try:
                tool = self._find_tool(reference, written)
            except ToolReferenceError as error:
                self.problems.append(place.problem(field, f"{reference}: {error.message}", error.fix))
                if error.inside:
                    self.problems.append(error.inside)
                continue
            if tool.name in found:
                self.problems.append(
                    place.problem(field, f"the agent has a tool called {tool.name} already.", "Remove one.")
                )
            found[tool.name] = tool
        if written.consent and written.consent.ask:
            consent = record_consent_tool()
            if consent.name in found:
                message = f"the agent has a tool called {consent.name}, as the one that asking needs."
                self.problems.append(place.problem("consent.ask", message, "Give that one another name."))
            found[consent.name] = consent
        return found

    def _find_tool(self, reference: str, written: AgentFile) -> Tool:
        module, _, name = reference.partition(".")
        if module != CALL_MODULE:
            return self._tools.find(reference)
        try:
            return find_call_tool(name, written.destinations(), written.invited())
        except KeyError as error:
            raise ToolReferenceError("there is no such telephone tool.", str(error.args[0])) from error


def _turn_detection(section: ServerVadSection | SemanticVadSection) -> TurnDetection:
    match section:
        case ServerVadSection():
            return ServerVad(
                threshold=section.threshold,
                prefix_padding_ms=section.prefix_padding_ms,
                silence_duration_ms=section.silence_duration_ms,
                idle_timeout_ms=section.idle_timeout_ms,
                interrupt_response=section.interrupt_response,
            )
        case SemanticVadSection():
            return SemanticVad(eagerness=section.eagerness, interrupt_response=section.interrupt_response)


def _digest(root: Path, files: Iterable[Path]) -> str:
    """Return a digest of the files' places below `root` and their bytes: the same on every machine."""
    digest = hashlib.sha256()
    base = root.resolve()
    for file in sorted({file.resolve() for file in files}):
        content = file.read_bytes()
        name = file.relative_to(base).as_posix() if file.is_relative_to(base) else file.name
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]
