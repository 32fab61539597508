"""What an agent must not say, checked by the server on the transcript while it speaks."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Guardrail:
    """A response whose transcript matches is cut off and logged, and `instead` is said; "" for nothing.

    name: for the log. pattern: searched in lower-case text with single spaces.
    """

    name: str
    pattern: re.Pattern[str]
    instead: str = ""


def spoken_form(text: str) -> str:
    """Return text as patterns are matched against it."""
    return " ".join(text.lower().replace("\u2019", "'").split())


def phrase_pattern(phrase: str) -> str:
    """Return the pattern of a phrase, as whole words."""
    return rf"(?<!\w){re.escape(spoken_form(phrase))}(?!\w)"
