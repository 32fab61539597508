"""The Python modules in an agents directory's `tools` folder, found by name from the YAML."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from shared.agents.problems import Problem, did_you_mean
from shared.tools.definition import Tool, ToolDefinitionError


class ToolReferenceError(Exception):
    """`message` and `fix` are about the reference; `inside` about the module that it leads to."""

    def __init__(self, message: str, fix: str = "", inside: Problem | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.inside = inside


class ToolModules:
    """Imports the modules under a private package of their own, named by place and content.

    So several directories can be loaded in one process, an edited folder is imported afresh, and an
    unchanged one is not imported twice. Modules may import each other relatively (`from . import x`).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self.files = tuple(sorted(self._directory.rglob("*.py"))) if self._directory.is_dir() else ()
        digest = hashlib.sha256(str(self._directory).encode())
        for file in self.files:
            digest.update(b"\0" + str(file.relative_to(self._directory)).encode() + b"\0" + file.read_bytes())
        self._package = f"_sidetone_tools_{digest.hexdigest()[:24]}"
        self._failed: dict[str, ToolReferenceError] = {}

    def find(self, reference: str) -> Tool:
        """Return the tool that `reference` (module.function) names; raises ToolReferenceError."""
        module_name, _, attribute = reference.rpartition(".")
        module = self._module(module_name)
        found: object = getattr(module, attribute, None)
        if isinstance(found, Tool):
            return found
        if inspect.isroutine(found):
            raise ToolReferenceError(
                f"{attribute} is a function without @tool.", "Decorate it with @tool(…)."
            )
        fix = did_you_mean(
            attribute, [name for name, value in vars(module).items() if isinstance(value, Tool)]
        )
        raise ToolReferenceError(
            f"tools/{module_name.replace('.', '/')}.py has no tool called {attribute}.",
            fix or "Decorate a function with @tool(…) there.",
        )

    def _module(self, name: str) -> ModuleType:
        if name in self._failed:
            raise self._failed[name]
        try:
            return self._import(name)
        except ToolReferenceError as error:
            self._failed[name] = error
            raise

    def _import(self, name: str) -> ModuleType:
        path = self._directory.joinpath(*name.split("."))
        if not path.with_suffix(".py").is_file() and not (path / "__init__.py").is_file():
            known = [".".join(file.relative_to(self._directory).with_suffix("").parts) for file in self.files]
            fix = did_you_mean(name, [other for other in known if not other.endswith("__init__")])
            raise ToolReferenceError(
                f"there is no module tools/{name.replace('.', '/')}.py.", fix or "Create it."
            )
        importlib.invalidate_caches()
        try:
            self._import_package()
            return importlib.import_module(f"{self._package}.{name}")
        except (Exception, SystemExit) as error:  # whatever a user's module does when it is imported
            raise ToolReferenceError(
                f"tools/{name.replace('.', '/')}.py can't be imported.",
                inside=self._inside(error, path.with_suffix(".py")),
            ) from error

    def _import_package(self) -> None:
        if self._package in sys.modules:
            return
        initial = self._directory / "__init__.py"
        spec = spec_from_file_location(
            self._package, initial, submodule_search_locations=[str(self._directory)]
        )
        if not initial.is_file() or spec is None or spec.loader is None:
            spec = ModuleSpec(self._package, None, is_package=True)
            spec.submodule_search_locations = [str(self._directory)]
        package = sys.modules[self._package] = module_from_spec(spec)
        if spec.loader is not None:
            try:
                spec.loader.exec_module(package)
            except BaseException:
                del sys.modules[self._package]
                raise

    def _inside(self, error: BaseException, module: Path) -> Problem:
        match error:
            case ToolDefinitionError():
                file, line, message = Path(error.file), error.line, f"the tool {error.tool}: {error.what}"
            case SyntaxError():
                file, line = Path(error.filename or module), error.lineno or 0
                message = f"is not valid Python: {error.msg}."
            case _:
                file, line = next(self._frames(error), (module, 0))
                message = f"raises {type(error).__name__} when imported: {error}"
        return Problem(file=file, line=line, field="", message=message)

    def _frames(self, error: BaseException) -> Iterator[tuple[Path, int]]:
        """Yield the places in this folder that the error came through, the innermost first."""
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            file = Path(frame.filename)
            if file in self.files:
                yield file, frame.lineno or 0
