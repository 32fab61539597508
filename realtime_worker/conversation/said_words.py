"""Words that a command has had said: when the caller has heard them."""

from __future__ import annotations

from realtime_worker.conversation.effects import Record
from realtime_worker.conversation.inbox_progress import InboxProgress
from realtime_worker.conversation.responses import Utterance
from shared.session.log import HeardOut


class SaidWords:
    """Which responses say the words of which commands."""

    def __init__(self, inbox: InboxProgress) -> None:
        self._inbox = inbox
        self._said: dict[str, str] = {}  # response id -> the command's entry id

    def response_began(self, utterance: Utterance | None, response_id: str) -> None:
        """A response began."""
        if utterance is not None and self._inbox.waits(utterance.key):
            self._said[response_id] = utterance.key

    def audio_over(self, response_id: str, now_ms: int, *, cleared: bool) -> list[Record]:
        """The audio of a response was heard out or cut off."""
        entry_id = self._said.pop(response_id, "")
        return (
            [Record(entry=HeardOut(entry_id=entry_id, interrupted=cleared, at_ms=now_ms))] if entry_id else []
        )

    def lost(self) -> None:
        """The provider session is gone, and what was said in it."""
        self._said.clear()
