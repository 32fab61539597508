"""What is wrong with an agents directory: every problem with its file, line, field and remedy."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from shared.errors import SidetoneError


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing to mend.

    line: from 1; 0 where a line says nothing (a file that is missing).
    field: dotted path in the YAML, such as turn_detection.threshold; "" outside a field.
    fix: what to do about it, a sentence; "" where `message` says it.
    """

    file: Path
    line: int
    field: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = f"{_shown(self.file)}:{self.line}" if self.line else _shown(self.file)
        what = f"{self.field}: {self.message}" if self.field else self.message
        return f"{place}: {what}" + (f" {self.fix}" if self.fix else "")


class AgentLoadError(SidetoneError):
    """The agents directory can't be used. `problems` holds everything wrong with all of its files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (str(p.file), p.line, p.field)))
        super().__init__("agent_invalid", "\n".join(str(problem) for problem in self.problems))


def did_you_mean(wrong: str, known: Collection[str]) -> str:
    """Return the sentence that leads from `wrong` to one of `known`, or that lists them."""
    near = get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return f"Known are: {', '.join(sorted(known))}." if known else ""


def _shown(file: Path) -> str:
    try:
        relative = os.path.relpath(file)
    except ValueError:  # another drive
        return str(file)
    return str(file) if relative.startswith("..") else relative
