"""One turn of a call as a sideband sees it, ready to be written: 76 events, of which one function call.

Shapes and order are those of the GA Realtime API on a WebRTC or SIP call: the caller is heard, the model
calls a tool, and after its output it speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import orjson

TOOL = "echo"
EVENTS = 76
DELTAS = 40

_ANSWER = "You asked whether the branch in the old town opens on Saturday morning; it does, from nine to one."
_WORDS = _ANSWER.split()
_SAID = "".join(f" {_WORDS[number % len(_WORDS)]}" for number in range(DELTAS))
_ASKED = "Is the branch in the old town open on Saturday morning?"
_CALLER_DELTAS = 3
_ARGUMENT_DELTAS = 4
_FORMAT = {"type": "audio/pcm", "rate": 24000}
_METADATA = "\x00metadata\x00"
_SPLIT = orjson.dumps(_METADATA)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The frames of one turn, in order, the WebSocket framing included.

    heard: the caller spoke and was understood.
    calling: the response with the function call, up to its last arguments.
    called: what completes the function call and its response; written at once, as the service does.
    speaking: the response after the tool's output, without its first and last event, which repeat the
        metadata of the request: see `created` and `done`.
    spoken: what follows that response.
    """

    tool_call_id: str
    heard: tuple[bytes, ...]
    calling: tuple[bytes, ...]
    called: bytes
    speaking: tuple[bytes, ...]
    spoken: tuple[bytes, ...]
    _created: tuple[bytes, bytes]
    _done: tuple[bytes, bytes]

    def created(self, metadata: object) -> bytes:
        """Return the frame that begins the spoken response."""
        return framed(orjson.dumps(metadata).join(self._created))

    def done(self, metadata: object) -> bytes:
        """Return the frame that ends the spoken response."""
        return framed(orjson.dumps(metadata).join(self._done))


def framed(payload: bytes) -> bytes:
    """Return a server's text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


@lru_cache(maxsize=8192)
def turn(number: int) -> Turn:
    """Return the turn of this number. Ids differ from turn to turn; all calls share them, and the bytes."""
    return _Writer(number).turn()


class _Writer:
    def __init__(self, number: int) -> None:
        self._number = number
        self._events = count(1)
        self._user, self._call, self._said, self._output = (
            f"item_{number:08d}{part}" for part in ("user", "call", "said", "out0")
        )
        self._tool_call_id = f"call_{number:012d}"
        self._first, self._second = f"resp_{number:08d}a", f"resp_{number:08d}b"

    def turn(self) -> Turn:
        return Turn(
            tool_call_id=self._tool_call_id,
            heard=_frames(self._heard()),
            calling=_frames(self._calling()),
            called=b"".join(_frames(self._called())),
            speaking=_frames(self._speaking()),
            spoken=_frames(self._spoken()),
            _created=self._open("response.created", self._response(self._second, "in_progress")),
            _done=self._open("response.done", self._response(self._second, "completed", self._message())),
        )

    def _event(self, kind: str, **fields: object) -> bytes:
        event_id = f"event_{self._number:08d}{next(self._events):04d}"
        return orjson.dumps({"type": kind, "event_id": event_id, **fields})

    def _open(self, kind: str, response: Mapping[str, object]) -> tuple[bytes, bytes]:
        before, after = self._event(kind, response={**response, "metadata": _METADATA}).split(_SPLIT)
        return before, after

    def _heard(self) -> Iterable[bytes]:
        began = self._number * 4000
        item = {
            "id": self._user,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        place = {"item_id": self._user, "content_index": 0}
        yield self._event("input_audio_buffer.speech_started", audio_start_ms=began, item_id=self._user)
        yield self._event("input_audio_buffer.speech_stopped", audio_end_ms=began + 1800, item_id=self._user)
        yield self._event("input_audio_buffer.committed", previous_item_id=None, item_id=self._user)
        yield self._event("conversation.item.added", previous_item_id=None, item=item)
        yield self._event("conversation.item.done", previous_item_id=None, item=item)
        step = -(-len(_ASKED) // _CALLER_DELTAS)
        for at in range(0, len(_ASKED), step):
            kind = "conversation.item.input_audio_transcription.delta"
            yield self._event(kind, **place, delta=_ASKED[at : at + step])
        usage = {"type": "duration", "seconds": 2}
        kind = "conversation.item.input_audio_transcription.completed"
        yield self._event(kind, **place, transcript=_ASKED, usage=usage)

    def _calling(self) -> Iterable[bytes]:
        place = {"response_id": self._first, "output_index": 0}
        item = self._function_call("in_progress", "")
        response = {**self._response(self._first, "in_progress"), "metadata": None}
        yield self._event("response.created", response=response)
        yield self._event("response.output_item.added", **place, item=item)
        yield self._event("conversation.item.added", previous_item_id=self._user, item=item)
        arguments = self._arguments()
        step = -(-len(arguments) // _ARGUMENT_DELTAS)
        for at in range(0, len(arguments), step):
            yield self._event(
                "response.function_call_arguments.delta",
                **place,
                item_id=self._call,
                call_id=self._tool_call_id,
                delta=arguments[at : at + step],
            )

    def _called(self) -> Iterable[bytes]:
        place = {"response_id": self._first, "output_index": 0}
        item = self._function_call("completed", self._arguments())
        yield self._event(
            "response.function_call_arguments.done",
            **place,
            item_id=self._call,
            call_id=self._tool_call_id,
            name=TOOL,
            arguments=self._arguments(),
        )
        yield self._event("response.output_item.done", **place, item=item)
        yield self._event("conversation.item.done", previous_item_id=self._user, item=item)
        response = {**self._response(self._first, "completed", item), "metadata": None}
        yield self._event("response.done", response=response)
        yield self._limits()

    def _speaking(self) -> Iterable[bytes]:
        place = {"response_id": self._second, "output_index": 0}
        content = {**place, "item_id": self._said, "content_index": 0}
        opened = {**self._message(), "status": "in_progress", "content": []}
        whole = _SAID.strip()
        yield self._event("response.output_item.added", **place, item=opened)
        yield self._event("conversation.item.added", previous_item_id=self._output, item=opened)
        yield self._event("response.content_part.added", **content, part={"type": "audio", "transcript": ""})
        yield self._event("output_audio_buffer.started", response_id=self._second)
        for number in range(DELTAS):
            word = f" {_WORDS[number % len(_WORDS)]}" if number else _WORDS[0]
            yield self._event("response.output_audio_transcript.delta", **content, delta=word)
        yield self._event("response.output_audio.done", **content)
        yield self._event("response.output_audio_transcript.done", **content, transcript=whole)
        yield self._event(
            "response.content_part.done", **content, part={"type": "audio", "transcript": whole}
        )
        yield self._event("response.output_item.done", **place, item=self._message())
        yield self._event("conversation.item.done", previous_item_id=self._output, item=self._message())

    def _spoken(self) -> Iterable[bytes]:
        yield self._limits()
        yield self._event("output_audio_buffer.stopped", response_id=self._second)

    def _arguments(self) -> str:
        return f'{{"number": {10_000_000 + self._number}}}'

    def _function_call(self, status: str, arguments: str) -> dict[str, object]:
        return {
            "id": self._call,
            "object": "realtime.item",
            "type": "function_call",
            "status": status,
            "name": TOOL,
            "call_id": self._tool_call_id,
            "arguments": arguments,
        }

    def _message(self) -> dict[str, object]:
        return {
            "id": self._said,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_audio", "transcript": _SAID.strip()}],
        }

    def _response(self, response_id: str, status: str, *output: Mapping[str, object]) -> dict[str, object]:
        return {
            "object": "realtime.response",
            "id": response_id,
            "status": status,
            "status_details": None,
            "output": list(output),
            "conversation_id": "conv_1",
            "output_modalities": ["audio"],
            "max_output_tokens": "inf",
            "audio": {"output": {"format": _FORMAT, "voice": "marin"}},
            "usage": _USAGE if output else None,
        }

    def _limits(self) -> bytes:
        limits = [
            {"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 0.06},
            {"name": "tokens", "limit": 1_000_000, "remaining": 999_000, "reset_seconds": 0.06},
        ]
        return self._event("rate_limits.updated", rate_limits=limits)


_USAGE = {
    "total_tokens": 412,
    "input_tokens": 380,
    "output_tokens": 32,
    "input_token_details": {
        "text_tokens": 210,
        "audio_tokens": 170,
        "image_tokens": 0,
        "cached_tokens": 256,
        "cached_tokens_details": {"text_tokens": 192, "audio_tokens": 64, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 12, "audio_tokens": 20},
}


def _frames(events: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(framed(event) for event in events)
