"""Prompts: Jinja templates, sandboxed, every variable declared."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from jinja2 import (
    ChoiceLoader,
    FileSystemLoader,
    FunctionLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateNotFound,
    meta,
    nodes,
)
from jinja2 import TemplateSyntaxError as JinjaSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.agents.problems import Problem, did_you_mean
from shared.errors import SidetoneError

# Namespaces with what each holds, None where that is not known.
KnownNames: TypeAlias = Mapping[str, Collection[str] | None]

_REMEDIES = {
    "facts": "No tool of any agent sets one: name it in a tool's sets_facts.",
    "environment": "List it under the agent's `environment`.",
}


class Prompt:
    """A checked template. `files` are the template and everything it includes."""

    def __init__(self, template: Template, files: tuple[Path, ...]) -> None:
        self._template = template
        self.files = files

    def render(self, values: Mapping[str, object]) -> str:
        """Return the text; raises SidetoneError "agent_prompt_failed" where the template breaks on them."""
        try:
            return self._template.render(values).strip()
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise SidetoneError(
                "agent_prompt_failed",
                f"The prompt {self._template.name} can't be rendered with these variables "
                f"({type(error).__name__}); correct the template.",
            ) from error


class PromptLibrary:
    """The templates of one agents directory; names are relative to it and can't lead out of it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._inline: dict[str, tuple[str, Path, int]] = {}  # name -> text, file, line before the first one
        inline = FunctionLoader(lambda name: self._inline[name][0] if name in self._inline else None)
        self._environment = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([inline, FileSystemLoader(directory)]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,  # the text is read by a model, not by a browser
        )
        self._environment.globals.pop("lipsum", None)

    def load_text(
        self, text: str, file: Path, line: int, declared: Collection[str], names: KnownNames
    ) -> tuple[Prompt | None, list[Problem]]:
        """As `load`, for a template that stands in `file`, below the line `line`."""
        name = f"instructions of {file.name}"
        self._inline[name] = text, file, line
        return self.load(name, declared, names)

    def load(
        self, name: str, declared: Collection[str], names: KnownNames
    ) -> tuple[Prompt | None, list[Problem]]:
        """Return the prompt, or None and why not.

        declared: the variables it may use. names: the namespaces beside them, with what each holds; None
        where that is not known.

        Raises FileNotFoundError when there is no such file; what it includes in vain is a problem.
        """
        problems: list[Problem] = []
        files: dict[str, Path] = {}
        waiting: list[tuple[str, Path | None, int]] = [(name, None, 0)]
        while waiting:
            wanted, included_by, line = waiting.pop()
            if wanted in files:
                continue
            try:
                source, file, before = self._source(wanted)
            except TemplateNotFound as error:
                if included_by is None:
                    raise FileNotFoundError(wanted) from error
                message = f"includes {wanted}, which is not in {self._directory.name}/."
                problems.append(Problem(file=included_by, line=line, field="", message=message))
                continue
            except UnicodeDecodeError:
                message = "is not UTF-8; save the file in that encoding."
                problems.append(Problem(file=self._directory / wanted, line=0, field="", message=message))
                continue
            files[wanted] = file
            try:
                tree = self._environment.parse(source, name=wanted)
                self._environment.compile(source, name=wanted)
            except JinjaSyntaxError as error:  # also unknown filters and tests
                problems.append(
                    Problem(
                        file=file,
                        line=before + error.lineno,
                        field="",
                        message=_sentence(error.message or ""),
                    )
                )
                continue
            problems += self._undeclared(tree, file, before, [*declared, *names])
            problems += _unknown_names(tree, file, before, names)
            for included, line in _inclusions(tree):
                if included:
                    waiting.append((included, file, line))
                else:
                    message = "an included template's name must stand there, in quotes."
                    problems.append(Problem(file=file, line=line, field="", message=message))
        if problems:
            return None, problems
        return Prompt(self._environment.get_template(name), tuple(files.values())), []

    def _source(self, name: str) -> tuple[str, Path, int]:
        """Return a template, its file, and the line there that comes before its first one."""
        if name in self._inline:
            return self._inline[name]
        source, found, _ = FileSystemLoader(self._directory).get_source(self._environment, name)
        return source, Path(found), 0

    def _undeclared(
        self, tree: nodes.Template, file: Path, before: int, declared: Collection[str]
    ) -> list[Problem]:
        free = meta.find_undeclared_variables(tree) - set(self._environment.globals) - set(declared)
        first: dict[str, int] = {}
        for found in tree.find_all(nodes.Name):
            if found.name in free and found.ctx == "load":
                first.setdefault(found.name, found.lineno)
        return [
            Problem(
                file=file,
                line=before + first.get(name, 1),
                field="",
                message=f"uses the variable {name}, which the agent's `variables` do not declare.",
                fix=did_you_mean(name, declared) or "Declare it there.",
            )
            for name in sorted(free)
        ]


def _unknown_names(tree: nodes.Template, file: Path, before: int, names: KnownNames) -> Iterator[Problem]:
    """Yield what is asked of a namespace that it does not hold."""
    for found in tree.find_all((nodes.Getattr, nodes.Getitem)):
        space = found.node.name if isinstance(found.node, nodes.Name) else ""
        if space not in names:
            continue
        known = names[space]
        if isinstance(found, nodes.Getattr):
            name = found.attr
        else:
            name = found.arg.value if isinstance(found.arg, nodes.Const) else None
        if not isinstance(name, str):
            message = f"what it asks of {space} must stand there, as in {space}.name."
            yield Problem(file=file, line=before + found.lineno, field="", message=message)
        elif known is not None and name not in known:
            message = f"uses {space}.{name}, which is not known."
            fix = did_you_mean(name, known) or _REMEDIES.get(space, "")
            yield Problem(file=file, line=before + found.lineno, field="", message=message, fix=fix)


def _inclusions(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    """Yield the name and line of every template that this one includes; "" where the name is computed."""
    for found in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        named = found.template.value if isinstance(found.template, nodes.Const) else ""
        yield named if isinstance(named, str) else "", found.lineno


def _sentence(message: str) -> str:
    return f"{message.rstrip('.')}."
