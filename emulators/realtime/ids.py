"""Ids in the service's shapes, reproducible when seeded."""

from __future__ import annotations

import random
import secrets


class IdSource:
    """Makes ids such as `item_1f…`. With a seed the same sequence comes every time (never for secrets)."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed if seed is not None else secrets.randbits(128))
        self._events = 0
        self._event_prefix = f"event_{self._random.getrandbits(40):010x}"

    def new(self, prefix: str, *, digits: int = 20) -> str:
        """Return `<prefix>_<digits hex digits>`; ids stay within the service's 32 characters."""
        return f"{prefix}_{self._random.getrandbits(4 * digits):0{digits}x}"

    def event(self) -> str:
        """Return the next event id: cheap, since every server event needs one."""
        self._events += 1
        return f"{self._event_prefix}{self._events:06x}"

    def child(self) -> IdSource:
        """Return a source of its own for one session, derived from this one."""
        return IdSource(self._random.getrandbits(63))
