"""From the result of an MCP tool to what the model reads: JSON, plain, and no longer than allowed.

Structured content is passed on as it is, text as {"text": …}; what can't be read aloud (images, audio,
binary resources) is only named. What was cut off or taken out is said in the result, under keys that begin
with an underscore. Source of the content types: MCP, tools, 2025-11-25 and 2026-07-28.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard, assert_never

import mcp_types as types
import orjson
from pydantic_core import to_json

from shared.mcp.plain_text import plain

CUT = "_cut"
REMOVED = "_removed"
# Room for the keys around a text that was cut, and for what is escaped in it.
_ENVELOPE = 400


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A result as the model gets it; `bytes_received` is its size as the server sent it."""

    value: Mapping[str, object]
    bytes_received: int
    cut: bool = False
    removed: bool = False


def read_result(result: types.CallToolResult, max_bytes: int) -> Reading:
    """Return the result's content as JSON data whose text has at most `max_bytes` of UTF-8."""
    structured: object = result.structured_content
    if structured is not None:
        structured = structured if _is_object(structured) else {"result": structured}
        text = to_json(structured, inf_nan_mode="null").decode()
        return _fitted(structured, text, max_bytes)
    text = "\n".join(filter(None, map(_text_of, result.content)))
    found = _json_object(text, max_bytes)
    if found is not None:
        return _fitted(found, text, max_bytes)
    return _as_text(text, max_bytes)


def error_text(result: types.CallToolResult, max_characters: int = 500) -> str:
    """Return what the server says about a failed call, fit to be read by the model."""
    text, _ = plain(" ".join(filter(None, map(_text_of, result.content))))
    return " ".join(text.split())[:max_characters]


def _fitted(value: Mapping[str, object], text: str, max_bytes: int) -> Reading:
    size = len(text.encode())
    if size > max_bytes:
        return _as_text(text, max_bytes)
    if text.isascii() and "\\u" not in text:  # nothing unseen can be in it
        return Reading(value=value, bytes_received=size)
    cleaned = _Cleaner()
    seen = cleaned.clean(value)
    if not _is_object(seen):
        return _as_text(text, max_bytes)
    note = {REMOVED: "invisible characters"} if cleaned.removed else {}
    return Reading(value={**seen, **note}, bytes_received=size, removed=cleaned.removed)


def _as_text(text: str, max_bytes: int) -> Reading:
    size = len(text.encode())
    seen, removed = plain(text[: max_bytes * 2])
    cut = size > max_bytes
    room = max(max_bytes - _ENVELOPE, 0)
    if cut or len(to_json(seen)) > room:
        seen = _shortened(seen, room)
        cut = True
    value: dict[str, object] = {"text": seen}
    if cut:
        value[CUT] = f"This is the beginning only, of {size} bytes. Ask for something narrower."
    if removed:
        value[REMOVED] = "invisible characters"
    return Reading(value=value, bytes_received=size, cut=cut, removed=removed)


def _shortened(text: str, room: int) -> str:
    """Return the longest beginning of `text` whose JSON has at most `room` bytes."""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        if len(to_json(text[:middle])) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def _text_of(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.EmbeddedResource(resource=types.TextResourceContents(text=text)):
            return text
        case types.EmbeddedResource(resource=types.BlobResourceContents() as blob):
            return f"[{blob.mime_type or 'binary'} data, not shown]"
        case types.EmbeddedResource():
            return ""
        case types.ResourceLink():
            return f"[link to {block.name}: {block.uri}]"
        case types.ImageContent() | types.AudioContent():
            return f"[{block.type} of type {block.mime_type}, not shown]"
        case _:
            assert_never(block)


def _json_object(text: str, max_bytes: int) -> dict[str, object] | None:
    """Return the JSON object that `text` is, if it is one and may be passed on whole."""
    if not text.lstrip().startswith("{") or len(text) > max_bytes:
        return None
    try:
        found: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if _is_object(found) else None


class _Cleaner:
    """Takes unseen characters out of every text of a JSON value."""

    def __init__(self) -> None:
        self.removed = False

    def clean(self, value: object) -> object:
        if isinstance(value, str):
            text, removed = plain(value)
            self.removed = self.removed or removed
            return text
        if _is_object(value):
            return {str(self.clean(name)): self.clean(inside) for name, inside in value.items()}
        if _is_list(value):
            return [self.clean(inside) for inside in value]
        return value


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list)
