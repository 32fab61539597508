"""Where something stands in an agent's file."""

from __future__ import annotations

import re
from pathlib import Path

from shared.agents.problems import Problem
from shared.agents.yaml_source import Location, YamlDocument

_PART = re.compile(r"[^.\[\]]+")


class Place:
    """An agent's file, to make problems about its fields."""

    def __init__(self, file: Path, document: YamlDocument) -> None:
        self.file = file
        self._document = document

    def line_of(self, field: str) -> int:
        """Return the line of a field, or of the nearest thing around it."""
        return self._document.line_of(_location(field))

    def problem(self, field: str, message: str, fix: str = "") -> Problem:
        """Return a problem about a field, written as in handoffs[0].to."""
        return Problem(file=self.file, line=self.line_of(field), field=field, message=message, fix=fix)


def _location(field: str) -> Location:
    return tuple(int(part) if part.isdecimal() else part for part in _PART.findall(field))
