"""The responses of a session: one at a time in the conversation, any number beside it, and their playback."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence

from emulators.realtime.session.configuration import SessionConfiguration
from emulators.realtime.session.conversation import Conversation, Item, parse_item
from emulators.realtime.session.effects import (
    ArmIdleTimer,
    ClearPlayback,
    DisarmIdleTimer,
    StopThinking,
    Think,
    Transport,
)
from emulators.realtime.session.outbox import Outbox
from emulators.realtime.session.response import Response, ResponseWriter
from emulators.realtime.session.turn import Turn
from emulators.realtime.session.usage import Segment, text_tokens
from emulators.realtime.session.validation import VOICES, check_response
from emulators.realtime.wire import Json, RejectedError, as_list, as_object, as_text, object_at

_REMEMBERED = 16
_TOKENS_PER_MINUTE = 1_000_000
_REQUESTS_PER_MINUTE = 1_000


class Responses:
    """Starts, feeds, cancels and finishes responses."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        conversation: Conversation,
        configuration: SessionConfiguration,
        transport: Transport,
    ) -> None:
        self._out = outbox
        self._conversation = conversation
        self._configuration = configuration
        self._transport = transport
        self._writer = ResponseWriter(outbox, conversation)
        self._running: dict[str, Response] = {}
        self._recent: OrderedDict[str, Response] = OrderedDict()
        self._active: Response | None = None
        self._playing: Response | None = None
        self._unheard: OrderedDict[str, Response] = OrderedDict()
        self._previous_context: Sequence[Segment] = ()
        self.audio_present = False

    @property
    def active_id(self) -> str | None:
        """The id of the response that writes to the conversation, if one does."""
        return self._active.id if self._active else None

    @property
    def sounding(self) -> bool:
        """Whether the caller hears something, or would soon (WebRTC and SIP)."""
        return self._playing is not None or bool(self._unheard)

    def get(self, response_id: str) -> Response | None:
        """Return a running response."""
        return self._running.get(response_id)

    def create(self, body: object) -> None:
        """Start what a `response.create` asks for; raises RejectedError where the service refuses."""
        params = check_response(body)
        beside = params.get("conversation") == "none"
        if self._configuration.kind == "transcription":
            raise RejectedError(
                "invalid_value", "Responses cannot be created in a transcription session.", param="type"
            )
        if not beside and self._active is not None:
            raise RejectedError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._active.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        self.start(params)

    def start(self, params: Json) -> None:
        """Start a response with checked `params`."""
        data = self._configuration.data
        beside = params.get("conversation") == "none"
        given_input = as_list(params.get("input"))
        items = None if given_input is None else self._input_items(given_input)
        modalities = as_list(params.get("output_modalities")) or as_list(data.get("output_modalities"))
        output = {**object_at(data, "audio", "output"), **object_at(params, "audio", "output")}
        limit = params.get("max_output_tokens", data.get("max_output_tokens"))
        tools = as_list(params["tools"] if params.get("tools") is not None else data.get("tools")) or []
        response = Response(
            id=self._out.ids.new("resp"),
            in_conversation=not beside,
            conversation_id=None if beside else self._conversation.id,
            modality="text" if modalities == ["text"] else "audio",
            voice=output.get("voice", VOICES[0]),
            format=as_object(output.get("format")) or {"type": "audio/pcm", "rate": 24_000},
            max_output_tokens=limit if isinstance(limit, int) else None,
            metadata=params.get("metadata"),
            instructions=as_text(params.get("instructions")),
            tools=[tool for entry in tools if (tool := as_object(entry)) is not None],
            tool_choice=params.get("tool_choice", data.get("tool_choice", "auto")),
            input_items=items,
        )
        seen = items if items is not None else list(self._conversation)
        response.context = self._context(response, seen)
        response.sees = frozenset(item.id for item in seen)
        response.waiting_for = {item.id for item in seen if item.text is None}
        self._running[response.id] = response
        self._recent[response.id] = response
        while len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        if not beside:
            self._active = response
        self._out.add(DisarmIdleTimer())
        self._writer.created(response)
        self._think_when_ready(response)

    def turn(self, response_id: str) -> Turn | None:
        """Return what the mind needs for a running response, None when it is over."""
        response = self._running.get(response_id)
        if response is None:
            return None
        items = response.input_items if response.input_items is not None else list(self._conversation)
        return Turn(
            response_id=response_id,
            instructions=as_text(self._configuration.data.get("instructions")) or "",
            response_instructions=response.instructions,
            tools=tuple(response.tools),
            tool_choice=response.tool_choice,
            items=tuple(item for item in items if item.id in response.sees),
            in_conversation=response.in_conversation,
            metadata=response.metadata,
        )

    def understood(self, item_id: str) -> None:
        """An item's audio is understood: responses that waited for it may go on."""
        for response in list(self._running.values()):
            response.waiting_for.discard(item_id)
            self._think_when_ready(response)

    def said(self, response_id: str, text: str) -> str:
        """Take the mind's words; return what may be spoken."""
        response = self._running.get(response_id)
        if response is None or response.exhausted:
            return ""
        return self._writer.said(response, text)

    def spoke(self, response_id: str, milliseconds: float, audio: bytes | None) -> None:
        """Take the voice's audio."""
        response = self._running.get(response_id)
        if response is not None:
            self.audio_present = True
            if self._transport != "websocket":
                self._unheard[response_id] = response
            self._writer.spoke(response, milliseconds, audio)

    def called(self, response_id: str, name: str, arguments: str) -> None:
        """Take a tool call of the mind."""
        response = self._running.get(response_id)
        if response is not None and not response.exhausted:
            self._writer.called(response, name, arguments)

    def finished(self, response_id: str) -> None:
        """The mind has nothing more to say."""
        response = self._running.get(response_id)
        if response is None:
            return
        if response.exhausted:
            self._done(response, "incomplete", {"type": "incomplete", "reason": "max_output_tokens"})
        else:
            self._done(response, "completed", None)

    def failed(self, response_id: str, *, kind: str, code: str, message: str) -> None:
        """The response can't be made."""
        response = self._running.get(response_id)
        if response is not None:
            error: Json = {"type": kind, "code": code, "message": message}
            self._done(response, "failed", {"type": "failed", "error": error})

    def cancel(self, reason: str, response_id: str | None = None) -> bool:
        """Cancel the response called `response_id`, or the conversation's; tell whether one was running."""
        response = self._active if response_id is None else self._running.get(response_id)
        if response is None:
            return False
        self._out.add(StopThinking(response_id=response.id))
        self._done(response, "cancelled", {"type": "cancelled", "reason": reason})
        return True

    def playback_started(self, response_id: str) -> None:
        """The caller begins to hear `response_id`."""
        self._playing = self._recent.get(response_id)
        self._out.event("output_audio_buffer.started", response_id=response_id)

    def playback_stopped(self, response_id: str) -> None:
        """The caller has heard all of `response_id`."""
        self._playing = None
        self._unheard.pop(response_id, None)
        self._out.event("output_audio_buffer.stopped", response_id=response_id)
        if self._active is None:
            self._arm_idle(0)

    def clear_playback(self, played_ms: float) -> None:
        """Drop unheard audio after `played_ms` of the response being heard, and cut its items to that."""
        playing, self._playing = self._playing, None
        self._out.add(ClearPlayback())
        latest = next(reversed(self._recent), "")
        self._out.event("output_audio_buffer.cleared", response_id=playing.id if playing else latest)
        unheard = [response for response in self._unheard.values() if response is not playing]
        self._unheard.clear()
        if playing is not None:
            self._cut(playing, played_ms)
        for response in unheard:
            self._cut(response, 0.0)

    def _cut(self, response: Response, heard_ms: float) -> None:
        left = heard_ms
        for item in response.output:
            if not item.spoken or item.role != "assistant" or self._conversation.get(item.id) is None:
                continue
            heard = min(left, item.audio_ms)
            left -= heard
            if heard < item.audio_ms:
                self.truncate(item, int(heard))

    def truncate(self, item: Item, audio_end_ms: int) -> None:
        """Cut a spoken item to its first `audio_end_ms`; the words that fit stay known to the mind."""
        kept = (item.text or "")[: int(len(item.text or "") * audio_end_ms / max(item.audio_ms, 1))]
        if kept != item.text:
            kept = kept.rsplit(" ", 1)[0] if " " in kept else ""
        item.text = kept
        item.transcript = kept
        item.audio_ms = float(audio_end_ms)
        self._out.event(
            "conversation.item.truncated", item_id=item.id, content_index=0, audio_end_ms=audio_end_ms
        )

    def _think_when_ready(self, response: Response) -> None:
        if not response.waiting_for and not response.thinking:
            response.thinking = True
            self._out.add(Think(response_id=response.id))

    def _done(self, response: Response, status: str, details: Json | None) -> None:
        previous = self._previous_context
        self._running.pop(response.id, None)
        if self._active is response:
            self._active = None
        self._writer.done(response, status, details, previous)
        if response.in_conversation:
            self._previous_context = response.context
        self._rate_limits(response)
        if self._active is None and response.in_conversation:
            on_call = self._transport != "websocket"
            if not (on_call and response.audio_out_ms):
                self._arm_idle(response.audio_out_ms)

    def _arm_idle(self, playback_ms: float) -> None:
        detection = self._configuration.turn_detection
        if detection is not None and detection.idle_timeout_ms is not None:
            self._out.add(ArmIdleTimer(milliseconds=detection.idle_timeout_ms + int(playback_ms)))

    def _rate_limits(self, response: Response) -> None:
        used = sum(segment.total for segment in response.context) + response.text_out
        limits = (
            ("requests", _REQUESTS_PER_MINUTE, 1),
            ("tokens", _TOKENS_PER_MINUTE, used),
        )
        self._out.event(
            "rate_limits.updated",
            rate_limits=[
                {
                    "name": name,
                    "limit": limit,
                    "remaining": max(0, limit - spent),
                    "reset_seconds": round(60 * spent / limit, 3),
                }
                for name, limit, spent in limits
            ],
        )

    def _context(self, response: Response, items: Sequence[Item]) -> list[Segment]:
        instructions = response.instructions or as_text(self._configuration.data.get("instructions")) or ""
        tools = json.dumps(response.tools) if response.tools else ""
        return [
            Segment(key=f"instructions:{instructions}", text=text_tokens(instructions)),
            Segment(key=f"tools:{tools}", text=text_tokens(tools)),
            *(item.segment() for item in items),
        ]

    def _input_items(self, given: Sequence[object]) -> list[Item]:
        items: list[Item] = []
        for index, entry in enumerate(given):
            path = f"response.input[{index}]"
            found = as_object(entry)
            if found is not None and found.get("type") == "item_reference":
                item = self._conversation.get(found.get("id"))
                if item is None:
                    raise RejectedError(
                        "invalid_value", f"Item with id '{found.get('id')}' not found.", param=f"{path}.id"
                    )
                items.append(item)
            else:
                items.append(parse_item(entry, path, lambda: self._out.ids.new("item")))
        return items
