"""Keep the agent's configuration: the caller's client is on the call too, and could change it."""

from __future__ import annotations

import hashlib

import msgspec

from realtime_worker.conversation.wire import Event

# What a client must not change behind the agent's back.
_GUARDED = ("instructions", "tools")

# How often the agent's configuration is put back before the call ends for it.
OVERRIDES_ALLOWED = 3


class ConfigurationGuard:
    """Compares the session with what the service confirmed of ours."""

    def __init__(self) -> None:
        self._confirmed: dict[str, bytes] = {}
        self._overridden = 0

    @property
    def exhausted(self) -> bool:
        """Whether the configuration was replaced more often than we put it back."""
        return self._overridden > OVERRIDES_ALLOWED

    def confirm(self, session: Event) -> None:
        """Take the echo of our own update, in the service's own writing: what others are held to."""
        self._confirmed = {name: _digest(session.get(name)) for name in _GUARDED}

    def overridden(self, session: Event) -> bool:
        """Return whether `session` is not what was confirmed, and count that."""
        if all(
            name not in session or _digest(session[name]) == ours for name, ours in self._confirmed.items()
        ):
            return False
        self._overridden += 1
        return True


def _digest(value: object) -> bytes:
    """Return what stands for a JSON value: instructions and tools are many KB, and each session's own."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).digest()
