"""Client events about conversation items: create, retrieve, truncate, delete."""

from __future__ import annotations

import base64

from emulators.realtime.session.conversation import Conversation, Item, parse_item
from emulators.realtime.session.outbox import Outbox
from emulators.realtime.session.responding import Responses
from emulators.realtime.session.validation import missing, wrong_type
from emulators.realtime.wire import Json, RejectedError, as_list, as_object, as_text

_KEPT_AUDIO_BYTES = 8 * 1024 * 1024


class ItemEvents:
    """Handlers of the `conversation.item.*` client events; they raise RejectedError where it is due."""

    def __init__(self, outbox: Outbox, conversation: Conversation, responses: Responses) -> None:
        self._out = outbox
        self._conversation = conversation
        self._responses = responses
        self._kept_audio: dict[str, bytes] = {}

    def keep_audio(self, item_id: str, audio: bytes) -> None:
        """Keep an item's audio for `conversation.item.retrieve`; the oldest goes when it gets too much."""
        self._kept_audio[item_id] = audio
        while sum(map(len, self._kept_audio.values())) > _KEPT_AUDIO_BYTES and len(self._kept_audio) > 1:
            self._kept_audio.pop(next(iter(self._kept_audio)))

    def create(self, event: Json, _played_ms: float) -> None:
        """`conversation.item.create`: add an item that the client describes."""
        item = parse_item(event.get("item"), "item", lambda: self._out.ids.new("item"))
        after = event.get("previous_item_id")
        if after is not None and after != "root" and self._conversation.get(after) is None:
            raise RejectedError(
                "item_create_invalid_previous_item_id",
                f"Error adding item: the previous item with id '{after}' does not exist.",
                param="previous_item_id",
            )
        if self._conversation.get(item.id) is not None:
            raise RejectedError(
                "item_create_duplicate_item_id",
                f"Error adding item: an item with id '{item.id}' already exists.",
                param="item.id",
            )
        if item.role == "tool_output" and not self._conversation.knows_call(item.call_id):
            raise RejectedError(
                "invalid_tool_call_id",
                f"Tool call ID '{item.call_id}' not found in conversation.",
                param="item.call_id",
            )
        previous = self._conversation.add(item, after=as_text(after))
        self._out.event("conversation.item.added", previous_item_id=previous, item=item.wire())
        self._out.event("conversation.item.done", previous_item_id=previous, item=item.wire())

    def _find(self, event: Json, operation: str) -> Item:
        if event.get("item_id") is None:
            raise missing("item_id")
        item = self._conversation.get(event["item_id"])
        if item is None:
            raise RejectedError(
                f"item_{operation}_invalid_item_id",
                f"Error: item with id '{str(event['item_id'])[:64]}' not found.",
                param="item_id",
            )
        return item

    def retrieve(self, event: Json, _played_ms: float) -> None:
        """`conversation.item.retrieve`: show an item, audio included."""
        item = self._find(event, "retrieve")
        shown = item.wire()
        audio = self._kept_audio.get(item.id)
        content = as_list(shown.get("content"))
        first = as_object(content[0]) if content else None
        if audio is not None and first is not None:
            first["audio"] = base64.b64encode(audio).decode("ascii")
        self._out.event("conversation.item.retrieved", item=shown)

    def truncate(self, event: Json, _played_ms: float) -> None:
        """`conversation.item.truncate`: the client played only the first part of an answer."""
        item = self._find(event, "truncate")
        end = event.get("audio_end_ms")
        if end is None:
            raise missing("audio_end_ms")
        if isinstance(end, bool) or not isinstance(end, int) or end < 0:
            raise wrong_type(end, "an integer of at least 0", "audio_end_ms")
        if item.role != "assistant" or not item.spoken or event.get("content_index", 0) != 0:
            raise RejectedError(
                "invalid_value",
                "Only the audio of an assistant message (content_index 0) can be truncated.",
                param="item_id",
            )
        if end > item.audio_ms:
            raise RejectedError(
                "invalid_value",
                f"Audio content of {int(item.audio_ms)}ms is already shorter than {end}ms",
                param="audio_end_ms",
            )
        self._responses.truncate(item, end)

    def delete(self, event: Json, _played_ms: float) -> None:
        """`conversation.item.delete`: take an item out."""
        item = self._find(event, "delete")
        self._conversation.remove(item.id)
        self._kept_audio.pop(item.id, None)
        self._out.event("conversation.item.deleted", item_id=item.id)
