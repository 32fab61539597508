"""YAML that remembers its lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

import yaml

# Far above what an agent needs; keeps nested aliases from growing without end.
MAX_NODES = 10_000

Location: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class YamlProblem:
    line: int
    field: str
    message: str


class YamlSourceError(Exception):
    """The text is no YAML mapping that can be read; all that is wrong, as far as it could be read."""

    def __init__(self, problems: list[YamlProblem]) -> None:
        super().__init__(f"{len(problems)} problem(s)")
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class YamlDocument:
    """A YAML mapping as plain data, and the line (from 1) of every key and list entry in it."""

    data: Mapping[str, object]
    lines: Mapping[Location, int]

    def line_of(self, location: Location) -> int:
        """Return the line of `location`, or of the nearest thing around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def read_yaml(source: bytes) -> YamlDocument:
    """Return the one mapping that `source` (UTF-8) holds; raises YamlSourceError."""
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise _unreadable(line, "is not UTF-8; save the file in that encoding.") from error
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            reader = _Reader(loader)
            data = reader.read(root, ()) if root is not None else {}
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise _unreadable(mark.line + 1 if mark else 1, f"is not valid YAML: {what}.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _unreadable(line, "holds a character that YAML does not allow.") from error
    if reader.problems:
        raise YamlSourceError(reader.problems)
    if not isinstance(data, dict):
        raise _unreadable(1, "must be a mapping, one `field: value` a line.")
    return YamlDocument(data=cast("dict[str, object]", data), lines=reader.lines)


def field_name(location: Location) -> str:
    """Return a location as people write it: turn_detection.threshold, tools[1]."""
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    return name.removeprefix(".")


def _unreadable(line: int, message: str) -> YamlSourceError:
    return YamlSourceError([YamlProblem(line=line, field="", message=message)])


class _Reader:
    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._open: set[int] = set()
        self._seen = 0
        self.lines: dict[Location, int] = {}
        self.problems: list[YamlProblem] = []

    def read(self, node: yaml.Node, location: Location) -> object:
        self._seen += 1
        if self._seen > MAX_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_NODES} values", problem_mark=node.start_mark)
        if id(node) in self._open:
            raise yaml.MarkedYAMLError(problem="an alias that contains itself", problem_mark=node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            try:
                return cast("object", self._loader.construct_object(node))
            except ValueError:  # such as the date 2026-13-45
                self._wrong(node, location, f"{node.value} can't be read; put it in quotes.")
                return node.value
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._entry(entry, (*location, at)) for at, entry in enumerate(node.value)]
            return self._mapping(node, location) if isinstance(node, yaml.MappingNode) else None
        finally:
            self._open.discard(id(node))

    def _entry(self, node: yaml.Node, location: Location) -> object:
        self.lines[location] = node.start_mark.line + 1
        return self.read(node, location)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, object]:
        result: dict[str, object] = {}
        for key_node, value_node in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            key = self.read(key_node, location)
            if not isinstance(key, str):
                self._wrong(key_node, location, "a name must be text; put it in quotes.")
                continue
            here = (*location, key)
            if key in result:
                self._wrong(key_node, here, f"is there twice; the first is on line {self.lines[here]}.")
                continue
            self.lines[here] = key_node.start_mark.line + 1
            result[key] = self.read(value_node, here)
        return result

    def _wrong(self, node: yaml.Node, location: Location, message: str) -> None:
        self.problems.append(
            YamlProblem(line=node.start_mark.line + 1, field=field_name(location), message=message)
        )
