"""All agents of a directory, read and checked together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from shared.agents.agent import (
    Agent,
    AgentLimits,
    SemanticVad,
    ServerVad,
    TurnDetection,
    Variable,
)
from shared.agents.agent_file import AgentFile, SemanticVadSection, ServerVadSection, read_agent_file
from shared.agents.call_tools import CALL_MODULE, find_call_tool, record_consent_tool
from shared.agents.mcp_section import mcp_servers
from shared.agents.problems import AgentLoadError, Problem, did_you_mean
from shared.agents.prompt import Prompt, PromptLibrary
from shared.agents.tool_modules import ToolModules, ToolReferenceError
from shared.agents.yaml_source import YamlDocument, YamlSourceError, read_yaml
from shared.errors import NotFoundError, SidetoneError
from shared.tools.definition import Tool

__all__ = ["Agent", "AgentCatalog", "AgentLoadError", "TurnDetection", "load_agents"]


class AgentCatalog:
    """The agents by name."""

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = dict(sorted(agents.items()))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._agents)

    def get(self, name: str) -> Agent:
        """Return the agent called `name`; raises NotFoundError "unknown_agent" naming the known ones."""
        agent = self._agents.get(name)
        if agent is None:
            raise NotFoundError(
                "unknown_agent", f"There is no agent {name[:64]!r}; there are: {', '.join(self._agents)}."
            )
        return agent

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents.values())

    def __len__(self) -> int:
        return len(self._agents)


def load_agents(directory: str | Path) -> AgentCatalog:
    """Return the agents that `directory` holds: every *.yaml in it whose stem has no dot is one.

    A file such as member_services.rules.yaml belongs to its agent and is not one. Prompts are named
    relative to the directory, tools relative to its `tools` folder.

    Raises AgentLoadError with everything that is wrong with all files.
    """
    root = Path(directory)
    files = sorted(
        file for file in root.glob("*") if file.suffix in (".yaml", ".yml") and "." not in file.stem
    )
    if not files:
        what = "holds no agent" if root.is_dir() else "is not a directory"
        fix = "An agent is a file <name>.yaml; AGENTS_DIR says where they are."
        raise AgentLoadError([Problem(file=root, line=0, field="", message=f"{what}.", fix=fix)])
    loader = _Loader(root)
    agents = [agent for file in files if (agent := loader.load(file)) is not None]
    if loader.problems:
        raise AgentLoadError(dict.fromkeys(loader.problems))
    return AgentCatalog({agent.name: agent for agent in agents})


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

    def load(self, file: Path) -> Agent | None:
        """Return the agent in `file`; None when it has problems, which are then in `problems`."""
        before = len(self.problems)
        source = file.read_bytes()
        try:
            document = read_yaml(source)
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
        place = _Place(file, document)
        self._check_name(written, place)
        self._check_spoken(written, place)
        self.problems += [place.problem(*found) for found in written.problems(written.tools)]
        prompt = self._prompt(written, place)
        tools = self._find_tools(written, place)
        if prompt is None or len(self.problems) > before:
            return None
        return Agent(
            name=written.name,
            version=self._version(file, prompt, tools),
            description=written.description,
            voice=written.voice,
            language=written.language,
            greeting=written.greeting.strip(),
            prompt=prompt,
            variables={
                name: Variable(description=found.description, default=found.default)
                for name, found in written.variables.items()
            },
            tools=tools,
            mcp_servers=mcp_servers(written.mcp_servers),
            turn_detection=_turn_detection(written.turn_detection),
            farewell=written.farewell.strip(),
            limits=AgentLimits(
                max_duration_s=written.limits.max_duration_s,
                idle_s=written.limits.idle_s,
                max_tokens=written.limits.max_tokens,
                max_cost=written.limits.max_cost,
            ),
            max_output_tokens=written.max_output_tokens,
            transfer_to=written.destinations(),
            participants=written.invited(),
            consent=written.consent_terms(),
            recording=written.recorded(),
        )

    def _check_name(self, written: AgentFile, place: _Place) -> None:
        first = self._named.setdefault(written.name, place.file)
        if first != place.file:
            self.problems.append(
                place.problem("name", f"{written.name} is taken by {first.name}.", "Choose another.")
            )

    def _check_spoken(self, written: AgentFile, place: _Place) -> None:
        said = (("greeting", written.greeting), ("farewell", written.farewell), *written.spoken())
        for field, words in said:
            if "{{" in words or "{%" in words:
                self.problems.append(
                    place.problem(
                        field, "is spoken as it stands, braces and all.", "Use variables in the prompt."
                    )
                )

    def _prompt(self, written: AgentFile, place: _Place) -> Prompt | None:
        try:
            prompt, problems = self._prompts.load(written.prompt, written.variables)
        except FileNotFoundError:
            templates = [
                file.relative_to(self._root).as_posix()
                for file in self._root.glob("prompts/**/*")
                if file.is_file()
            ]
            fix = did_you_mean(written.prompt, templates) or "Create it."
            message = f"there is no file {written.prompt} in {self._root.name}/."
            self.problems.append(place.problem("prompt", message, fix))
            return None
        self.problems += problems
        defaults = {
            name: found.default for name, found in written.variables.items() if found.default is not None
        }
        if prompt is not None and len(defaults) == len(written.variables):
            try:
                if not prompt.render(defaults):
                    self.problems.append(place.problem("prompt", f"{written.prompt} is empty."))
            except SidetoneError as error:
                self.problems.append(place.problem("prompt", error.detail))
        return prompt

    def _find_tools(self, written: AgentFile, place: _Place) -> dict[str, Tool]:
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

    def _version(self, file: Path, prompt: Prompt, tools: Mapping[str, Tool]) -> str:
        return _digest(self._root, [file, *prompt.files, *(self._tools.files if tools else ())])


class _Place:
    """An agent's file, to make problems about its fields."""

    def __init__(self, file: Path, document: YamlDocument) -> None:
        self.file = file
        self._document = document

    def problem(self, field: str, message: str, fix: str = "") -> Problem:
        name, _, index = field.partition("[")
        location = (name, int(index.rstrip("]"))) if index else tuple(name.split("."))
        return Problem(
            file=self.file, line=self._document.line_of(location), field=field, message=message, fix=fix
        )


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
