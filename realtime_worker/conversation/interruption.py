"""The caller spoke over the agent: the model is told how much of what it said was heard.

Where this process carries the audio, the service can't know that. The caller's line tells what was heard, in
`heard` of its `output_audio_buffer.cleared`.

Source: `conversation.item.truncate` of the GA Realtime API.
"""

from __future__ import annotations

from realtime_worker.conversation.effects import Send
from realtime_worker.conversation.wire import Event, parts, text, whole

_PREFIX = "cut_"
_ID_CHARS = 32


def truncations(cleared: Event) -> list[Send]:
    """Return what tells the model where the items of a cleared response were cut off."""
    return [
        Send(
            event={
                "type": "conversation.item.truncate",
                "event_id": _PREFIX + text(heard, "item_id")[:_ID_CHARS],
                "item_id": text(heard, "item_id"),
                "content_index": whole(heard, "content_index"),
                "audio_end_ms": whole(heard, "audio_end_ms"),
            }
        )
        for heard in parts(cleared, "heard")
    ]


def is_truncation(event_id: str) -> bool:
    """Return whether a client event was a truncation. One that is refused came too late to matter: the item
    is gone with its session, or the service has cut it itself."""
    return event_id.startswith(_PREFIX)
