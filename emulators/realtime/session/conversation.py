"""The conversation's items: what a client may add, their order, and what they weigh."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from emulators.realtime.session.usage import (
    IMAGE_TOKENS,
    Segment,
    input_audio_tokens,
    output_audio_tokens,
    text_tokens,
)
from emulators.realtime.session.validation import missing, one_of, require_object, wrong_type
from emulators.realtime.wire import Json, RejectedError, as_list, as_object, as_text

Role = Literal["user", "assistant", "system", "tool_call", "tool_output", "other"]

_CONTENT = {
    "user": ("input_text", "input_audio", "input_image"),
    "system": ("input_text",),
    "assistant": ("output_text", "output_audio"),
}


@dataclass(kw_only=True, slots=True)
class Item:
    """One conversation item.

    `text` is what was typed, heard or said (None while a user's audio is not yet understood); `audio_ms` the
    length of its audio. `call_id`, `name` and `arguments` belong to function calls and their outputs.
    """

    id: str
    role: Role
    text: str | None = ""
    audio_ms: float = 0.0
    status: str = "completed"
    spoken: bool = False
    transcript: str | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    images: int = 0
    raw: Json = field(default_factory=dict[str, object])

    def wire(self) -> Json:
        """Return the item as events show it (audio bytes left out)."""
        base: Json = {"id": self.id, "object": "realtime.item"}
        match self.role:
            case "tool_call":
                return {
                    **base,
                    "type": "function_call",
                    "status": self.status,
                    "name": self.name,
                    "call_id": self.call_id,
                    "arguments": self.arguments,
                }
            case "tool_output":
                return {
                    **base,
                    "type": "function_call_output",
                    "status": self.status,
                    "call_id": self.call_id,
                    "output": self.text or "",
                }
            case "other":
                return {**self.raw, **base, "status": self.status}
            case "user" if self.spoken:
                content: list[object] = [{"type": "input_audio", "transcript": self.transcript}]
            case "assistant" if self.spoken:
                content = [{"type": "output_audio", "transcript": self.transcript or ""}]
            case "assistant" if not self.raw:
                content = [{"type": "output_text", "text": self.text or ""}] if self.text else []
            case _:
                content = as_list(self.raw.get("content")) or []
        return {**base, "type": "message", "status": self.status, "role": self.role, "content": content}

    def segment(self) -> Segment:
        """Return what the item adds to the context of a response."""
        text = text_tokens(self.text or "") + text_tokens(self.arguments) + text_tokens(self.name)
        audio = 0
        if self.spoken:
            counted = output_audio_tokens if self.role == "assistant" else input_audio_tokens
            audio = counted(self.audio_ms)
            text = text_tokens(self.transcript or "") if self.role == "assistant" else 0
        content = f"{self.id}|{self.text if not self.spoken else self.transcript}|{self.arguments}"
        key = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        # What was understood of a caller's audio is no part of the context; only the audio is.
        if self.spoken and self.role == "user":
            key = self.id
        return Segment(key=key, text=text, audio=audio, image=self.images * IMAGE_TOKENS)


class Conversation:
    """Items in order."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._items: list[Item] = []
        self._by_id: dict[str, Item] = {}
        self._calls: set[str] = set()

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, item_id: object) -> Item | None:
        return self._by_id.get(item_id) if isinstance(item_id, str) else None

    def knows_call(self, call_id: str) -> bool:
        """Whether a function call of this id is in the conversation."""
        return call_id in self._calls

    def add(self, item: Item, *, after: str | None = None) -> str | None:
        """Insert `item` behind the item `after` ("root" = front, None = end); return its predecessor's id."""
        if after is None:
            position = len(self._items)
        elif after == "root":
            position = 0
        else:
            position = next(
                (place + 1 for place, known in enumerate(self._items) if known.id == after), len(self._items)
            )
        self._items.insert(position, item)
        self._by_id[item.id] = item
        if item.role == "tool_call":
            self._calls.add(item.call_id)
        return self._items[position - 1].id if position else None

    def remove(self, item_id: str) -> None:
        """Take the item out; it must be there."""
        item = self._by_id.pop(item_id)
        self._items.remove(item)
        if item.role == "tool_call":
            self._calls.discard(item.call_id)


def parse_item(value: object, path: str, new_id: Callable[[], str]) -> Item:
    """Return the item that a client describes; `new_id` names it where the client does not.

    Raises RejectedError naming the field for anything the service would refuse.
    """
    found = require_object(value, path)
    kind = found.get("type")
    one_of(
        kind,
        ("message", "function_call", "function_call_output", "mcp_approval_response", "mcp_list_tools",
         "mcp_call", "mcp_approval_request"),
        f"{path}.type",
    )  # fmt: skip
    given = found.get("id")
    if given is not None and (not isinstance(given, str) or not 1 <= len(given) <= 32):
        raise RejectedError(
            "string_above_max_length",
            f"Invalid '{path}.id': expected a string of 1 to 32 characters.",
            param=f"{path}.id",
        )
    item_id = given if isinstance(given, str) else new_id()
    if kind == "function_call":
        return Item(
            id=item_id,
            role="tool_call",
            name=_required_text(found, "name", path),
            call_id=as_text(found.get("call_id")) or new_id().replace("item_", "call_"),
            arguments=_required_text(found, "arguments", path),
        )
    if kind == "function_call_output":
        return Item(
            id=item_id,
            role="tool_output",
            call_id=_required_text(found, "call_id", path),
            text=_required_text(found, "output", path),
        )
    if kind != "message":
        return Item(id=item_id, role="other", raw=found)
    return _parse_message(found, item_id, path)


def _parse_message(found: Json, item_id: str, path: str) -> Item:
    role = found.get("role")
    one_of(role, ("user", "assistant", "system"), f"{path}.role")
    speaker: Role = "user" if role == "user" else "assistant" if role == "assistant" else "system"
    content = found.get("content")
    parts = as_list(content)
    if parts is None:
        raise (
            missing(f"{path}.content")
            if content is None
            else wrong_type(content, "an array of content parts", f"{path}.content")
        )
    texts: list[str] = []
    images = 0
    audio_ms = 0.0
    for index, entry in enumerate(parts):
        here = f"{path}.content[{index}]"
        part = require_object(entry, here)
        one_of(part.get("type"), _CONTENT[speaker], f"{here}.type")
        match part["type"]:
            case "output_audio":
                raise RejectedError(
                    "invalid_value", "Assistant audio messages cannot be created by a client.", param=here
                )
            case "input_image":
                images += 1
            case "input_audio":
                audio_ms += _audio_length(part, here)
                texts.append(as_text(part.get("transcript")) or "")
            case _:
                texts.append(_required_text(part, "text", here))
    item = Item(id=item_id, role=speaker, text="\n".join(texts), images=images, audio_ms=audio_ms, raw=found)
    if audio_ms:
        item.raw = {**found, "content": [_without_audio(part) for part in parts]}
    return item


def _audio_length(part: Json, path: str) -> float:
    audio = _required_text(part, "audio", path)
    try:
        return len(base64.b64decode(audio, validate=True)) / 48
    except binascii.Error:
        raise RejectedError(
            "invalid_value", f"Invalid '{path}.audio': expected base64-encoded audio.", param=f"{path}.audio"
        ) from None


def _without_audio(part: object) -> object:
    found = as_object(part)
    return {key: value for key, value in found.items() if key != "audio"} if found else part


def _required_text(found: Json, name: str, path: str) -> str:
    value = found.get(name)
    if value is None:
        raise missing(f"{path}.{name}")
    if not isinstance(value, str):
        raise wrong_type(value, "a string", f"{path}.{name}")
    return value
