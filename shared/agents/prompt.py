"""Prompts: Jinja templates, sandboxed, every variable declared."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError, TemplateNotFound, meta, nodes
from jinja2 import TemplateSyntaxError as JinjaSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.agents.problems import Problem, did_you_mean
from shared.errors import SidetoneError


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
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(directory),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,  # the text is read by a model, not by a browser
        )
        self._environment.globals.pop("lipsum", None)

    def load(self, name: str, declared: Collection[str]) -> tuple[Prompt | None, list[Problem]]:
        """Return the prompt, or None and why not. `declared`: the variables it may use.

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
                source, found, _ = FileSystemLoader(self._directory).get_source(self._environment, wanted)
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
            file = files[wanted] = Path(found)
            try:
                tree = self._environment.parse(source, name=wanted)
                self._environment.compile(source, name=wanted)
            except JinjaSyntaxError as error:  # also unknown filters and tests
                problems.append(
                    Problem(file=file, line=error.lineno, field="", message=_sentence(error.message or ""))
                )
                continue
            problems += self._undeclared(tree, file, declared)
            for included, line in _inclusions(tree):
                if included:
                    waiting.append((included, file, line))
                else:
                    message = "an included template's name must stand there, in quotes."
                    problems.append(Problem(file=file, line=line, field="", message=message))
        if problems:
            return None, problems
        return Prompt(self._environment.get_template(name), tuple(files.values())), []

    def _undeclared(self, tree: nodes.Template, file: Path, declared: Collection[str]) -> list[Problem]:
        free = meta.find_undeclared_variables(tree) - set(self._environment.globals) - set(declared)
        first: dict[str, int] = {}
        for found in tree.find_all(nodes.Name):
            if found.name in free and found.ctx == "load":
                first.setdefault(found.name, found.lineno)
        return [
            Problem(
                file=file,
                line=first.get(name, 1),
                field="",
                message=f"uses the variable {name}, which the agent's `variables` do not declare.",
                fix=did_you_mean(name, declared) or "Declare it there.",
            )
            for name in sorted(free)
        ]


def _inclusions(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    """Yield the name and line of every template that this one includes; "" where the name is computed."""
    for found in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        named = found.template.value if isinstance(found.template, nodes.Const) else ""
        yield named if isinstance(named, str) else "", found.lineno


def _sentence(message: str) -> str:
    return f"{message.rstrip('.')}."
