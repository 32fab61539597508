"""One response: its parameters, its output items, and the events that tell of them."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from emulators.realtime.session.conversation import Conversation, Item
from emulators.realtime.session.effects import EndOfSpeech
from emulators.realtime.session.outbox import Outbox
from emulators.realtime.session.usage import Segment, output_audio_tokens, response_usage, text_tokens
from emulators.realtime.wire import Json

_WORDS = re.compile(r"\S+\s*|\s+")
_WORDS_A_DELTA = 3
_ARGUMENT_CHARACTERS_A_DELTA = 12


@dataclass(kw_only=True, slots=True)
class Response:
    """A response in progress.

    `context` is what it pays for; `sees` are the items that were there when it began, `waiting_for` those of
    them that are not yet understood.
    """

    id: str
    in_conversation: bool
    conversation_id: str | None
    modality: str
    voice: object
    format: Json
    max_output_tokens: int | None
    metadata: object
    instructions: str | None
    tools: list[Json]
    tool_choice: object
    input_items: list[Item] | None
    context: list[Segment] = field(default_factory=list[Segment])
    sees: frozenset[str] = frozenset()
    waiting_for: set[str] = field(default_factory=set[str])
    thinking: bool = False
    output: list[Item] = field(default_factory=list[Item])
    open_message: Item | None = None
    text_out: int = 0
    audio_out_ms: float = 0.0
    exhausted: bool = False

    @property
    def audible(self) -> bool:
        return self.modality == "audio"

    def wire(self, status: str, details: Json | None = None, usage: Json | None = None) -> Json:
        """Return the response object of `response.created` and `response.done`."""
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [item.wire() for item in self.output],
            "conversation_id": self.conversation_id,
            "output_modalities": [self.modality],
            "max_output_tokens": self.max_output_tokens if self.max_output_tokens is not None else "inf",
            "audio": {"output": {"format": self.format, "voice": self.voice}},
            "usage": usage,
            "metadata": self.metadata,
        }


class ResponseWriter:
    """Turns what the mind says and calls into the service's events, in the service's order."""

    def __init__(self, outbox: Outbox, conversation: Conversation) -> None:
        self._out = outbox
        self._conversation = conversation

    def created(self, response: Response) -> None:
        self._out.event("response.created", response=response.wire("in_progress"))

    def said(self, response: Response, text: str) -> str:
        """Emit `text` as transcript (or text) deltas; return what fitted into the token limit."""
        text = self._within_limit(response, text)
        if not text:
            return ""
        message = response.open_message or self._open_message(response)
        if message.text and not message.text[-1].isspace():
            text = " " + text
        before = text_tokens(message.text or "")
        message.text = (message.text or "") + text
        message.transcript = message.text if message.spoken else None
        response.text_out += text_tokens(message.text) - before
        kind = "response.output_audio_transcript.delta" if message.spoken else "response.output_text.delta"
        words = _WORDS.findall(text)
        for start in range(0, len(words), _WORDS_A_DELTA):
            self._content_event(kind, response, message, delta="".join(words[start : start + _WORDS_A_DELTA]))
        return text

    def spoke(self, response: Response, milliseconds: float, audio: bytes | None) -> None:
        """Account for spoken audio; with `audio` (in the output format), emit it as a delta."""
        message = response.open_message
        if message is None:
            return
        message.audio_ms += milliseconds
        response.audio_out_ms += milliseconds
        if audio is not None:
            self._out.output_audio(
                "response.output_audio.delta",
                **_place(response, message),
                delta=base64.b64encode(audio).decode("ascii"),
            )

    def called(self, response: Response, name: str, arguments: str) -> str:
        """Emit a function call with its argument deltas; return its call id."""
        self.close_message(response)
        item = Item(
            id=self._out.ids.new("item"),
            role="tool_call",
            name=name,
            call_id=self._out.ids.new("call", digits=16),
            status="in_progress",
        )
        index = self._add_item(response, item)
        place: Json = {"response_id": response.id, "item_id": item.id, "output_index": index}
        step = _ARGUMENT_CHARACTERS_A_DELTA
        for start in range(0, len(arguments), step):
            self._out.event(
                "response.function_call_arguments.delta",
                **place,
                call_id=item.call_id,
                delta=arguments[start : start + step],
            )
        item.arguments = arguments
        self._out.event(
            "response.function_call_arguments.done",
            **place,
            call_id=item.call_id,
            name=name,
            arguments=arguments,
        )
        response.text_out += text_tokens(arguments) + text_tokens(name)
        self._close_item(response, item, "completed")
        return item.call_id

    def close_message(self, response: Response, status: str = "completed") -> None:
        """Finish the message being spoken, if any."""
        message = response.open_message
        if message is None:
            return
        response.open_message = None
        text = message.text or ""
        if message.spoken:
            self._content_event("response.output_audio.done", response, message)
            self._content_event("response.output_audio_transcript.done", response, message, transcript=text)
            part: Json = {"type": "audio", "transcript": text}
        else:
            self._content_event("response.output_text.done", response, message, text=text)
            part = {"type": "text", "text": text}
        self._content_event("response.content_part.done", response, message, part=part)
        self._close_item(response, message, status)

    def done(
        self, response: Response, status: str, details: Json | None, previous_context: Sequence[Segment]
    ) -> None:
        """Finish the response: close its message, tell the usage, emit `response.done` and the limits."""
        self.close_message(response, "completed" if status == "completed" else "incomplete")
        usage = response_usage(
            response.context,
            previous_context,
            output_text=response.text_out,
            output_audio=output_audio_tokens(response.audio_out_ms),
        )
        self._out.add(EndOfSpeech(response_id=response.id))
        self._out.event("response.done", response=response.wire(status, details, usage))

    def _within_limit(self, response: Response, text: str) -> str:
        limit = response.max_output_tokens
        if limit is None:
            return text
        left = limit - response.text_out - output_audio_tokens(response.audio_out_ms)
        if text_tokens(text) > left:
            response.exhausted = True
            return text[: max(0, left) * 4]
        return text

    def _open_message(self, response: Response) -> Item:
        message = Item(
            id=self._out.ids.new("item"),
            role="assistant",
            status="in_progress",
            spoken=response.audible,
            transcript="",
        )
        shown = {**message.wire(), "content": []}
        self._add_item(response, message, shown)
        response.open_message = message
        part: Json = {"type": "audio", "transcript": ""} if response.audible else {"type": "text", "text": ""}
        self._content_event("response.content_part.added", response, message, part=part)
        return message

    def _add_item(self, response: Response, item: Item, shown: Json | None = None) -> int:
        index = len(response.output)
        response.output.append(item)
        self._out.event(
            "response.output_item.added",
            response_id=response.id,
            output_index=index,
            item=shown or item.wire(),
        )
        if response.in_conversation:
            previous = self._conversation.add(item)
            self._out.event("conversation.item.added", previous_item_id=previous, item=shown or item.wire())
        return index

    def _close_item(self, response: Response, item: Item, status: str) -> None:
        item.status = status
        self._out.event(
            "response.output_item.done",
            response_id=response.id,
            output_index=response.output.index(item),
            item=item.wire(),
        )
        if response.in_conversation:
            self._out.event("conversation.item.done", previous_item_id=self._before(item), item=item.wire())

    def _before(self, item: Item) -> str | None:
        previous: str | None = None
        for known in self._conversation:
            if known is item:
                return previous
            previous = known.id
        return previous

    def _content_event(self, kind: str, response: Response, message: Item, **fields: object) -> None:
        self._out.event(kind, **_place(response, message), **fields)


def _place(response: Response, message: Item) -> Json:
    return {
        "response_id": response.id,
        "item_id": message.id,
        "output_index": response.output.index(message),
        "content_index": 0,
    }
