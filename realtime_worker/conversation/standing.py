"""Who speaks and what is known, as the session's record keeps it; a change is committed with its cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from realtime_worker.conversation.effects import Effect, SetStanding
from realtime_worker.conversation.role import Accepted
from shared.session.model import FactValue, Standing, holds

# What tools may make known of one session; the rest of what they set is left out.
MAX_FACTS = 100


class StandingBook:
    """The standing of one conversation. Facts come from tools' results, never from the model's words."""

    def __init__(self, standing: Standing) -> None:
        self._now = standing

    @property
    def now(self) -> Standing:
        return self._now

    def missing(self, required: Iterable[str]) -> list[str]:
        """Return the facts among `required` that are not known."""
        return [name for name in required if not holds(self._now.facts.get(name))]

    def learn(self, facts: Mapping[str, FactValue | None]) -> list[Effect]:
        """Take what a tool has made known; call it where its result is recorded."""
        if not facts:
            return []
        known = dict(self._now.facts)
        for name, value in facts.items():
            if value is None or not holds(value):
                known.pop(name, None)
            elif name in known or len(known) < MAX_FACTS:
                known[name] = value
        return self._set(replace(self._now, facts=known))

    def hand_over(self, accepted: Accepted) -> list[Effect]:
        """Another agent takes over."""
        return self._set(
            replace(
                self._now,
                agent=accepted.role.agent,
                agent_version=accepted.role.version,
                previous_agent=self._now.agent,
                context=accepted.context,
                handoffs=self._now.handoffs + 1,
            )
        )

    def _set(self, standing: Standing) -> list[Effect]:
        if standing == self._now:
            return []
        self._now = standing
        return [SetStanding(standing=standing)]
