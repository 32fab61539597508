"""Listens to what the agent says, as it is transcribed, for what it must not say."""

from __future__ import annotations

from collections.abc import Sequence

from realtime_worker.conversation.wire import Event, text
from shared.agents.guardrail import Guardrail, spoken_form

# How much of a response's words is kept: a forbidden phrase is shorter, and may come in pieces.
KEPT_CHARS = 2_000

_DELTA = "response.output_audio_transcript.delta"


class TranscriptGuard:
    """The guardrails of whoever speaks in one conversation. Each response trips once."""

    def __init__(self, rules: Sequence[Guardrail]) -> None:
        self._rules = tuple(rules)
        self._response = ""
        self._said = ""
        self._tripped = ""

    @property
    def listens(self) -> bool:
        """Whether there is anything to listen for."""
        return bool(self._rules)

    def follow(self, rules: Sequence[Guardrail]) -> None:
        """Another agent speaks from now on."""
        self._rules = tuple(rules)

    def heard(self, event: Event) -> tuple[Guardrail, str] | None:
        """Take an event of the provider; return what it breaks, and in which response."""
        if not self._rules or text(event, "type") != _DELTA:
            return None
        response_id = text(event, "response_id")
        if response_id == self._tripped:
            return None
        if response_id != self._response:
            self._response, self._said = response_id, ""
        self._said = (self._said + text(event, "delta"))[-KEPT_CHARS:]
        said = spoken_form(self._said)
        broken = next((rule for rule in self._rules if rule.pattern.search(said)), None)
        if broken is None:
            return None
        self._tripped = response_id
        return broken, response_id
