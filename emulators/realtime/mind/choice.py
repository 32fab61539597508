"""Which mind an emulator uses: a chat endpoint when one is configured, rule files otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from emulators.realtime.mind.rulebook import RulebookError, load_rulebook
from emulators.realtime.mind.rules import RuleMinds
from emulators.realtime.mind.thoughts import Minds


def choose_mind(files: Sequence[Path], directory: Path | None, environment: Mapping[str, str]) -> Minds:
    """Return what makes a mind for each new session.

    `MIND_BASE_URL` in `environment` selects a chat endpoint (`MIND_API_KEY`, `MIND_MODEL` belong to it). Rule
    files of `directory` (`*.rules.yaml`) come after `files`; books with a condition go before those without.
    Raises RulebookError.
    """
    if environment.get("MIND_BASE_URL"):
        from emulators.realtime.mind.chat import ChatMinds

        return ChatMinds(
            base_url=environment["MIND_BASE_URL"],
            api_key=environment.get("MIND_API_KEY", "none"),
            model=environment.get("MIND_MODEL", "gpt-4o-mini"),
        )
    found = list(files)
    if directory is not None:
        if not directory.is_dir():
            raise RulebookError(f"{directory}: is not a directory; give one with *.rules.yaml files")
        found += sorted(directory.rglob("*.rules.yaml"))
    books = [load_rulebook(path) for path in found]
    books.sort(key=lambda book: not book.instructions_contain)
    return RuleMinds(books)
