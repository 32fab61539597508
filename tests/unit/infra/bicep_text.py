"""Bicep as text, as far as tests ask: which resources there are, and what is written in them.

The compiler itself checks the templates in continuous integration; here is nothing of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
TEMPLATES = REPOSITORY / "infra" / "bicep"
MAIN = TEMPLATES / "main.bicep"

_CLOSING = {"{": "}", "[": "]", "(": ")"}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One `resource` statement. `text`: its body with the braces, comments left out."""

    file: str
    symbol: str
    type: str
    version: str
    existing: bool
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.symbol}"


def template_files() -> list[Path]:
    return sorted(TEMPLATES.rglob("*.bicep"))


def without_comments(text: str) -> str:
    """Return `text` without comments; `//` in strings stays."""
    return re.sub(
        r"('(?:\\.|[^'\\\n])*')|//[^\n]*|/\*.*?\*/",
        lambda found: found[1] or "",
        text,
        flags=re.DOTALL,
    )


def block(text: str, start: int) -> str:
    """Return what the bracket at or behind `start` encloses, with it; brackets in strings don't count."""
    begin = next(index for index in range(start, len(text)) if text[index] in _CLOSING)
    depth, quoted = 0, False
    for index in range(begin, len(text)):
        character = text[index]
        if character == "'" and text[index - 1] != "\\":
            quoted = not quoted
        elif not quoted and character in _CLOSING:
            depth += 1
        elif not quoted and character in _CLOSING.values():
            depth -= 1
            if depth == 0:
                return text[begin : index + 1]
    raise AssertionError(f"a bracket is never closed: {text[begin : begin + 80]}")


def resources() -> list[Resource]:
    """Return every resource of every template, nested ones included."""
    return [one for path in template_files() for one in _resources_of(path)]


def _resources_of(path: Path) -> Iterator[Resource]:
    text = without_comments(path.read_text())
    for found in re.finditer(
        r"^\s*resource (\w+) '([\w./]+)(?:@([\w-]+))?'( existing)? =", text, re.MULTILINE
    ):
        yield Resource(
            file=path.relative_to(TEMPLATES).as_posix(),
            symbol=found[1],
            type=found[2],
            version=found[3] or "",
            existing=bool(found[4]),
            text=block(text, _behind_the_condition(text, found.end())),
        )


def _behind_the_condition(text: str, start: int) -> int:
    condition = re.match(r"\s*if ", text[start:])
    return start + condition.end() + len(block(text, start + condition.end())) if condition else start


def parameters(path: Path) -> dict[str, str]:
    """Return the parameters of a template: name to the text of the default, "" where there is none."""
    text = without_comments(path.read_text())
    found = re.finditer(r"^param (\w+) [^\n=]+?(?: = ([^\n]*))?$", text, re.MULTILINE)
    return {one[1]: (one[2] or "").strip() for one in found}


def variable(name: str, path: Path = MAIN) -> str:
    """Return what `var name = …` says, as far as its first bracket reaches."""
    text = without_comments(path.read_text())
    found = re.search(rf"^var {name} = ", text, re.MULTILINE)
    assert found, f"{path.name} has no variable {name}"
    return block(text, found.end())


def keys(text: str) -> set[str]:
    """Return the keys of the objects in `text` that look like environment variables."""
    return set(re.findall(r"(?:^|\{)\s*([A-Z][A-Za-z0-9_]*):", text, re.MULTILINE))


def values(text: str) -> dict[str, str]:
    """Return `key: value` lines of `text`, for keys that look like environment variables."""
    return dict(re.findall(r"^\s*([A-Z][A-Za-z0-9_]*): (.+)$", text, re.MULTILINE))
