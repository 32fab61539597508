"""What was said last while nobody listened.

A call that is attached to again replays nothing, and items can only be asked for by id. So the
probe adds a note of its own: the service tells which item comes before it. The note is deleted,
and that item retrieved: a function call without an answer, an answer without a reply, or
neither.
"""

from __future__ import annotations

from realtime_worker.conversation.effects import Send
from realtime_worker.conversation.wire import Event, text

_NOTE = "The connection was restored."


class TailProbe:
    """Finds the last item of the conversation, once for each attach."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0
        self._note = ""
        self._wanted = ""

    def start(self) -> list[Send]:
        """Ask; forgets an earlier question."""
        self._count += 1
        self._wanted = ""
        self._note = f"{self._prefix}{self._count}"
        note = {
            "id": self._note,
            "type": "message",
            "role": "system",
            "content": [{"type": "input_text", "text": _NOTE}],
        }
        return [Send(event={"type": "conversation.item.create", "event_id": self._note, "item": note})]

    def added(self, item: Event, previous_item_id: str) -> list[Send]:
        """Take a `conversation.item.added`: if it is the note, ask for the item before it."""
        if not self._note or text(item, "id") != self._note:
            return []
        remove = Send(event={"type": "conversation.item.delete", "item_id": self._note})
        self._note = ""
        self._wanted = previous_item_id
        if not previous_item_id or previous_item_id == "root":
            return [remove]
        retrieve = {"type": "conversation.item.retrieve", "event_id": RETRIEVAL, "item_id": previous_item_id}
        return [remove, Send(event=retrieve)]

    def found(self, item: Event) -> bool:
        """Return whether a retrieved `item` is the one that was asked for; then the probe is over."""
        if not self._wanted or text(item, "id") != self._wanted:
            return False
        self._wanted = ""
        return True


# The event id of the probe's question: an item that is gone by then is no error worth a record.
RETRIEVAL = "probe_retrieve"
