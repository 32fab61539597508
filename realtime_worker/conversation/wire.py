"""Read fields of provider events without trusting them, and build the client events we send.

Source: the GA Realtime API's client and server events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import cast

Event = Mapping[str, object]

EMPTY: Event = {}


def text(event: Event, name: str) -> str:
    """Return the string field `name`, or "" when it is absent or something else."""
    value = event.get(name)
    return value if isinstance(value, str) else ""


def whole(event: Event, name: str) -> int:
    """Return the integer field `name`, or 0 when it is absent or something else."""
    value = event.get(name)
    return value if isinstance(value, int) else 0


def part(event: Event, name: str) -> Event:
    """Return the object field `name`, or an empty one."""
    value = event.get(name)
    return cast("Event", value) if isinstance(value, dict) else EMPTY


def parts(event: Event, name: str) -> Iterator[Event]:
    """Yield the objects of the list field `name`."""
    value = event.get(name)
    if isinstance(value, list):
        for element in cast("list[object]", value):
            if isinstance(element, dict):
                yield cast("Event", element)


def spoken_text(item: Event) -> str:
    """Return what a message item says: transcripts of its audio, texts of its text."""
    said = (text(content, "transcript") or text(content, "text") for content in parts(item, "content"))
    return " ".join(piece.strip() for piece in said if piece).strip()


def function_call_output(tool_call_id: str, output: str) -> dict[str, object]:
    """Return the client event that answers a function call; `output` is JSON text.

    The item's id is made of the call's, so that a second copy is refused instead of heard twice.
    """
    item_id = output_item_id(tool_call_id)
    return {
        "type": "conversation.item.create",
        "event_id": item_id,
        "item": {"id": item_id, "type": "function_call_output", "call_id": tool_call_id, "output": output},
    }


def output_item_id(tool_call_id: str) -> str:
    """Return the id of the item that answers a call, within the service's 32 characters."""
    return "out_" + hashlib.sha256(tool_call_id.encode()).hexdigest()[:24]


def response_create(event_id: str, *, instructions: str = "") -> dict[str, object]:
    """Return a `response.create`; its id comes back in the response's metadata and in a refusal."""
    response: dict[str, object] = {"metadata": {REQUEST_KEY: event_id}}
    if instructions:
        response["instructions"] = instructions
    return {"type": "response.create", "event_id": event_id, "response": response}


# Where a response names the request of ours that caused it.
REQUEST_KEY = "sidetone_request"


def request_of(response: Event) -> str:
    """Return the id of our `response.create` that caused `response`, or "" when the service did."""
    return text(part(response, "metadata"), REQUEST_KEY)
