"""One conversation in several provider sessions, one after the other.

Where the worker's own socket carries the audio (see `Transport.carries_media`), a provider session belongs
to that socket and ends with it. The conversation goes on in the next one: seeded from what was said and
done, and changed for another before its time is over.
"""

from __future__ import annotations

from collections.abc import Iterable

from realtime_worker.conversation.effects import ChangeSession, Effect, PrepareSession, Record, Send
from realtime_worker.conversation.history import History
from realtime_worker.conversation.renewal import Change, Renewal
from realtime_worker.conversation.responses import ResponseSequencer
from realtime_worker.conversation.seeding import seed
from realtime_worker.conversation.wire import Event, text, whole
from shared.session.log import LogEntry


class OwnSessions:
    """What outlives the provider session that the conversation is in."""

    def __init__(self, history: Iterable[LogEntry], responses: ResponseSequencer) -> None:
        self._history = History(history)
        self._responses = responses
        self._renewal = Renewal()
        self._session_id = ""

    @property
    def session_id(self) -> str:
        """The provider's id of the session that we are in, `sess_…`."""
        return self._session_id

    def began(self, session: Event, now_ms: int) -> None:
        """The service has created a session for us."""
        self._session_id = text(session, "id")
        self._renewal.began(now_ms, whole(session, "expires_at") * 1000)

    def note(self, effects: Iterable[Effect]) -> None:
        """Remember what is being recorded."""
        for effect in effects:
            if isinstance(effect, Record):
                self._history.add(effect.entry)

    def seed(self) -> list[Send]:
        """Tell the session what was before it; see to it that what waits for an answer gets one."""
        given = seed(self._history)
        for tool_call_id in self._responses.unconfirmed_outputs():  # of a session that is gone
            self._responses.output_confirmed(tool_call_id)
        for tool_call_id in given.outputs:
            self._responses.output_sent(tool_call_id)
        if given.owes_reply:
            self._responses.want_reply()
        return [Send(event=event, after_commit=True) for event in given.events]

    def prepared(self, now_ms: int, *, succeeded: bool) -> None:
        """The next session is open; or it could not be opened, or was lost again."""
        if succeeded:
            self._renewal.prepared(now_ms)
        else:
            self._renewal.unprepared(now_ms)

    def next_deadline_ms(self) -> int | None:
        """Return when `renew` wants to be called, or None."""
        return self._renewal.next_deadline_ms()

    def renew(self, now_ms: int, *, quiet: bool) -> list[Effect]:
        """Prepare the next session, or go over to it, when it is time for that."""
        match self._renewal.due(now_ms, quiet=quiet):
            case None:
                return []
            case Change.PREPARE:
                return [PrepareSession()]
            case Change.TAKE:
                return [ChangeSession()]
