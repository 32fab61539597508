"""How a conversation ends: why, with which last words, and until when they may be waited for."""

from __future__ import annotations

from realtime_worker.conversation.effects import Effect, Finish, HangUp, Record, Send, SetState
from realtime_worker.conversation.responses import ResponseSequencer, Utterance
from shared.session.log import CommandReceived
from shared.session.model import SessionState

# How long a goodbye may take before the call ends without it.
GOODBYE_MS = 15_000

_KEY = "goodbye"


class Ending:
    """The goodbye of one conversation, said once, and the effects of its end."""

    def __init__(self, responses: ResponseSequencer) -> None:
        self._responses = responses
        self._told = ""
        self._reason = ""
        self._by_ms: int | None = None
        self._response = ""

    @property
    def reason(self) -> str:
        """Why the goodbye is being said, "" while none is."""
        return self._reason

    @property
    def by_ms(self) -> int | None:
        """When the call ends though the goodbye is not over; None while none is said."""
        return self._by_ms

    def told(self, reason: str) -> None:
        """A command asked for the end; the first one is logged when it has come."""
        self._told = self._told or reason

    def say_goodbye(self, reason: str, goodbye: str, now_ms: int) -> list[Effect]:
        """Have the last words said, before and instead of all else."""
        self._reason = reason
        self._by_ms = now_ms + GOODBYE_MS
        self._responses.drop_wishes()
        self._responses.want_utterance(Utterance(key=_KEY, text=goodbye))
        active = self._responses.active_response
        cancel = Send(event={"type": "response.cancel", "response_id": active})
        return [*([cancel] if active else []), *self._responses.pump(now_ms)]

    def begun(self, utterance: Utterance | None, response_id: str) -> None:
        """A response began that speaks `utterance`."""
        if self.is_goodbye(utterance):
            self._response = response_id

    def is_goodbye(self, utterance: Utterance | None) -> bool:
        """Return whether these are the last words."""
        return utterance is not None and utterance.key == _KEY

    def spoken_in(self, response_id: str) -> bool:
        """Return whether the audio of this response is that of the last words."""
        return bool(response_id) and response_id == self._response

    def effects(self, reason: str, now_ms: int, *, hang_up: bool) -> list[Effect]:
        """Return what ends the session."""
        self._by_ms = None
        ended: list[Effect] = []
        if self._told:
            ended.append(Record(entry=CommandReceived(command="end_call", detail=self._told, at_ms=now_ms)))
        ended.append(SetState(state=SessionState.ENDED, reason=reason, at_ms=now_ms))
        if hang_up:
            ended.append(HangUp())
        return [*ended, Finish(reason=reason)]
