"""When to change to another provider session: prepared in time, done in a quiet moment.

A provider's session has a longest time (an hour). Where the conversation can go on in another one, that one
is opened beside the old one some time before, and taken when nobody would notice.
"""

from __future__ import annotations

from enum import Enum, auto

# How long before the end another session is opened, and how long before it the change waits for quiet;
# of a short session, these parts of its life.
PREPARE_MS = 120_000
LATEST_MS = 10_000
PREPARE_PART = 4
LATEST_PART = 20
# How often a quiet moment is looked for, and how soon a failed preparation is repeated.
LOOK_EVERY_MS = 250
AGAIN_MS = 5_000


class Change(Enum):
    """What is to be done now."""

    PREPARE = auto()  # open another session
    TAKE = auto()  # go over to it


class _Stage(Enum):
    WAITING = auto()
    PREPARING = auto()
    PREPARED = auto()


class Renewal:
    """Watches the provider session that the conversation is in."""

    def __init__(self) -> None:
        self._stage = _Stage.WAITING
        self._prepare_at_ms = 0
        self._latest_at_ms = 0
        self._look_at_ms = 0

    def began(self, now_ms: int, ends_at_ms: int) -> None:
        """The conversation is in a provider session that ends at `ends_at_ms` (0: it has not told)."""
        life_ms = max(ends_at_ms - now_ms, 0)
        self._stage = _Stage.WAITING
        self._prepare_at_ms = ends_at_ms - min(PREPARE_MS, life_ms // PREPARE_PART) if ends_at_ms else 0
        self._latest_at_ms = ends_at_ms - min(LATEST_MS, life_ms // LATEST_PART) if ends_at_ms else 0

    def prepared(self, now_ms: int) -> None:
        """Another session is open."""
        if self._stage is _Stage.PREPARING:
            self._stage = _Stage.PREPARED
            self._look_at_ms = now_ms

    def unprepared(self, now_ms: int) -> None:
        """No other session could be opened, or it was lost while it waited."""
        if self._stage is not _Stage.WAITING:
            self._stage = _Stage.WAITING
            self._prepare_at_ms = now_ms + AGAIN_MS

    def next_deadline_ms(self) -> int | None:
        """Return when `due` wants to be asked, or None."""
        match self._stage:
            case _Stage.WAITING:
                return self._prepare_at_ms or None
            case _Stage.PREPARING:
                return None
            case _Stage.PREPARED:
                return min(self._look_at_ms, self._latest_at_ms)

    def due(self, now_ms: int, *, quiet: bool) -> Change | None:
        """Return what is to be done, once. quiet: nobody would notice a change of session now."""
        match self._stage:
            case _Stage.WAITING if self._prepare_at_ms and now_ms >= self._prepare_at_ms:
                self._stage = _Stage.PREPARING
                return Change.PREPARE
            case _Stage.PREPARED if quiet or now_ms >= self._latest_at_ms:
                self._stage = _Stage.WAITING
                self._prepare_at_ms = 0  # until the next one begins
                return Change.TAKE
            case _Stage.PREPARED:
                self._look_at_ms = now_ms + LOOK_EVERY_MS
            case _:
                pass
        return None
