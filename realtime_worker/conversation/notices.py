"""Telling the model what happened outside the conversation, as items of the system's in it."""

from __future__ import annotations

from realtime_worker.conversation.effects import Effect, Record, Send
from realtime_worker.conversation.inbox_progress import InboxProgress
from realtime_worker.conversation.responses import ResponseSequencer
from shared.session.commands import Tell
from shared.session.log import CommandReceived

# How the log calls what the model was told, and shall speak about or not.
TELL = "tell"
TELL_SILENTLY = "tell_silently"

_PREFIX = "note_"


class Notices:
    """What is to be told, each until the service has it in the conversation.

    An item's id is made of its inbox entry's: sent again after a lost connection, or by the next owner,
    it is refused by the service instead of being told twice.

    Source: `conversation.item.create` of the GA Realtime API.
    """

    def __init__(self, inbox: InboxProgress, responses: ResponseSequencer) -> None:
        self._inbox = inbox
        self._responses = responses
        self._waiting: dict[str, Tell] = {}  # item id -> what to tell
        self._sent: set[str] = set()

    def want(self, entry_id: str, tell: Tell) -> None:
        """Take a command of the inbox; a second copy of it changes nothing."""
        self._waiting.setdefault(_PREFIX + entry_id, tell)

    def send(self) -> list[Send]:
        """Return what is to be sent now. Call it only while the session is configured."""
        new = [item_id for item_id in self._waiting if item_id not in self._sent]
        self._sent.update(new)
        return [Send(event=_item(item_id, self._waiting[item_id].text), after_commit=True) for item_id in new]

    def lose_connection(self) -> None:
        """What was sent and not seen in the conversation is sent again."""
        self._sent.clear()

    def settled(self, item_id: str, now_ms: int) -> list[Effect]:
        """The service has taken an item, or refused it, as it does when it has it already."""
        tell = self._waiting.pop(item_id, None)
        if tell is None:
            return []
        self._sent.discard(item_id)
        if tell.respond:
            self._responses.want_reply()
        command = TELL if tell.respond else TELL_SILENTLY
        told = Record(entry=CommandReceived(command=command, detail=tell.text, at_ms=now_ms))
        return [told, *self._inbox.done(item_id.removeprefix(_PREFIX))]


def _item(item_id: str, text: str) -> dict[str, object]:
    content = [{"type": "input_text", "text": text}]
    item = {"id": item_id, "type": "message", "role": "system", "content": content}
    return {"type": "conversation.item.create", "event_id": item_id, "item": item}
