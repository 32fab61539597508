"""What the local stack tells a person when something is in the way."""

from __future__ import annotations

from collections.abc import Sequence


class LocalStackError(Exception):
    """Something is in the way. `sentence` says what and what to do; `details` are lines of a log, if any."""

    def __init__(self, sentence: str, details: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.details = tuple(details)

    def __str__(self) -> str:
        return "\n".join([self.sentence, *(f"    {line}" for line in self.details)])
