"""The words with which a handoff is announced, and the new agent's own after them: said once, and not lost.

The log tells what was said since. So whoever takes the session over says what the caller has not been told,
and has the new agent speak where its first words are missing.
"""

from __future__ import annotations

from collections.abc import Iterable

from realtime_worker.conversation.responses import ResponseSequencer, Utterance
from shared.session.log import AgentTurn, ConsentNoted, ConsentStep, HandedOver, LogEntry, UserTurn

_KEY = "handoff"


class HandoffWords:
    """What is yet to be said of the last handoff of one conversation."""

    def __init__(self, logged: Iterable[LogEntry], responses: ResponseSequencer) -> None:
        self._responses = responses
        self._announce = ""
        self._owes_reply = False
        announced = heard_caller = False
        handed: HandedOver | None = None
        spoken: set[str] = set()
        for entry in logged:
            match entry:
                case HandedOver():
                    handed, spoken = entry, set()
                    announced, heard_caller = bool(entry.announce), False
                case AgentTurn() if handed is not None and entry.agent == handed.to_agent:
                    spoken.add(entry.response_id or entry.item_id)
                case ConsentNoted(step=ConsentStep.ANNOUNCED):
                    announced = True
                case UserTurn():
                    heard_caller = True
                case _:
                    pass
        if handed is not None:
            self._announce = "" if spoken else handed.announce
            self._owes_reply = announced and len(spoken) == 1 and not heard_caller

    def entered(self, announce: str) -> None:
        """Another agent takes over, announced by these words, "" for none."""
        self._announce = announce
        self._owes_reply = False

    def take(self) -> str:
        """Return the announcement for somebody else to have it said."""
        announce, self._announce = self._announce, ""
        return announce

    def say(self, now_ms: int, *, free: bool) -> None:
        """Have said what is yet to be said. free: the new agent may speak, for all that comes before that."""
        if announce := self.take():
            self._responses.want_utterance(Utterance(key=_KEY, text=announce))
        if self._owes_reply and free:
            self._responses.owe_reply(now_ms)
        self._owes_reply = False

    def said(self) -> None:
        """The new agent has spoken where nobody listened: it is too late for an announcement."""
        self._announce = ""
        self._owes_reply = False
        self._responses.forget_utterance(_KEY)
