"""What was said last while nobody listened.

A call that is attached to again replays nothing, and items can only be asked for by id. So the
probe adds a note of its own: the service tells which item comes before it. The note is deleted,
and that item retrieved: a function call without an answer, an answer without a reply, or
neither. What a lost connection left unanswered is asked once more, and a note that another owner
left behind is deleted and asked past.
"""

from __future__ import annotations

from realtime_worker.conversation.effects import Send
from realtime_worker.conversation.wire import Event, text

_NOTE = "The connection was restored."
_NOTE_ID = "probe_"


class TailProbe:
    """Finds the last item of the conversation, once for each attach."""

    def __init__(self, epoch: int) -> None:
        self._prefix = f"{_NOTE_ID}{epoch}_"
        self._count = 0
        self._note = ""
        self._wanted: dict[str, None] = {}
        self._nothing_said = False

    @property
    def nothing_said(self) -> bool:
        """Whether the conversation was empty when this was last asked."""
        return self._nothing_said

    @property
    def pending(self) -> bool:
        """Whether an answer has not come yet."""
        return bool(self._note or self._wanted)

    def start(self) -> list[Send]:
        """Ask; repeats what has no answer yet."""
        self._count += 1
        self._note = f"{self._prefix}{self._count}"
        note = {
            "id": self._note,
            "type": "message",
            "role": "system",
            "content": [{"type": "input_text", "text": _NOTE}],
        }
        create = {"type": "conversation.item.create", "event_id": self._note, "item": note}
        return [*(_retrieve(item_id) for item_id in self._wanted), Send(event=create)]

    def added(self, item: Event, previous_item_id: str) -> list[Send]:
        """Take a `conversation.item.added`: if it is the note, ask for the item before it."""
        if not self._note or text(item, "id") != self._note:
            return []
        remove = _delete(self._note)
        self._note = ""
        self._nothing_said = previous_item_id in {"", "root"}
        if self._nothing_said:
            return [remove]
        if not previous_item_id.startswith(_NOTE_ID):
            self._wanted[previous_item_id] = None
            return [remove, _retrieve(previous_item_id)]
        left = _delete(previous_item_id)
        if previous_item_id.startswith(self._prefix):  # what is before our own note was asked for already
            return [remove, left]
        return [remove, left, *self.start()]

    def found(self, item: Event) -> bool:
        """Return whether a retrieved `item` is one that was asked for."""
        return self._wanted.pop(text(item, "id"), False) is None

    def refused(self) -> None:
        """An item that was asked for is gone."""
        self._wanted.clear()


def _retrieve(item_id: str) -> Send:
    event = {"type": "conversation.item.retrieve", "event_id": RETRIEVAL, "item_id": item_id}
    return Send(event=event)


def _delete(item_id: str) -> Send:
    return Send(event={"type": "conversation.item.delete", "item_id": item_id})


# The event id of the probe's question: an item that is gone by then is no error worth a record.
RETRIEVAL = "probe_retrieve"
