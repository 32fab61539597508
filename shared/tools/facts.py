"""What the server knows of a session, as a tool sees it: gates open by it, never by the model's word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from shared.session.model import FactValue, holds

# A fact goes into prompts and into the session's record with every change of one.
MAX_TEXT = 500
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Facts:
    """The facts known when a tool was called, and those that it sets.

        context.facts.set("member_id", member.id)
        context.facts.get("member_id")

    What is set counts once the tool has returned; a tool that raises sets nothing. A tool names the facts
    that it sets in `@tool(sets_facts=[…])`, so that a gate which nothing can open is found before a call.
    """

    def __init__(self, known: Mapping[str, FactValue] | None = None) -> None:
        self._known = dict(known or {})
        self._changes: dict[str, FactValue | None] = {}

    def get(self, name: str) -> FactValue | None:
        """Return the fact, as this tool has left it, or None where it is not known."""
        value = self._changes[name] if name in self._changes else self._known.get(name)
        return value if holds(value) else None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def set(self, name: str, value: FactValue) -> None:
        """Make a fact known; False and "" forget it. Raises ValueError for what can't be a fact."""
        check_fact_name(name)
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise ValueError(f"the fact {name} has {len(value)} characters; at most {MAX_TEXT}")
        self._changes[name] = value if holds(value) else None

    def forget(self, name: str) -> None:
        """Make a fact unknown."""
        check_fact_name(name)
        self._changes[name] = None

    @property
    def changes(self) -> dict[str, FactValue | None]:
        """What was set; None for what was forgotten."""
        return dict(self._changes)

    def __repr__(self) -> str:
        return f"Facts({', '.join(sorted(self._known.keys() | self._changes.keys()))})"


def facts_in(found: object) -> dict[str, FactValue | None]:
    """Return the facts in JSON data that somebody else has stored; what is none is left out."""
    if not isinstance(found, Mapping):
        return {}
    return {
        name: value
        for name, value in cast("Mapping[str, object]", found).items()
        if value is None or isinstance(value, str | int | float | bool)
    }


def check_fact_name(name: str) -> None:
    """Raise ValueError for what is no name of a fact."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a fact is named in snake_case, such as member_verified; not {name!r}")
