"""One Realtime session, sans-I/O: client events, speech, words and playback go in; effects come out.

Nothing here awaits, reads a clock or opens a socket: the shell tells what happened and when, and carries out
the effects in order. Event names, fields and order are those of the GA Realtime API
(`openai.types.realtime` of the public Python SDK).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping

import orjson

from emulators.realtime.ids import IdSource
from emulators.realtime.session.configuration import SessionConfiguration
from emulators.realtime.session.conversation import Conversation, Item
from emulators.realtime.session.effects import (
    DisarmIdleTimer,
    DiscardInput,
    Effect,
    EndSession,
    Hear,
    InputAudio,
    Reconfigured,
    Transport,
)
from emulators.realtime.session.item_events import ItemEvents
from emulators.realtime.session.outbox import Outbox
from emulators.realtime.session.responding import Responses
from emulators.realtime.session.turn import Turn
from emulators.realtime.session.usage import input_audio_tokens, text_tokens
from emulators.realtime.session.validation import check_session, missing, wrong_type
from emulators.realtime.wire import Json, RejectedError, as_list, as_object, as_text, object_at

MAX_APPEND_BYTES = 15 * 1024 * 1024
_MIN_COMMIT_MS = 100
_ON_CALLS_ONLY = "is only available for WebRTC and SIP sessions."


class SessionCore:
    """The state machine of one session."""

    def __init__(
        self,
        *,
        requested: Mapping[str, object],
        session_id: str,
        model: str,
        transport: Transport,
        ids: IdSource,
        expires_at: int = 0,
    ) -> None:
        self.configuration = SessionConfiguration(
            requested, session_id=session_id, model=model, expires_at=expires_at, transport=transport
        )
        self.transport: Transport = transport
        self._ids = ids
        self._out = Outbox(ids)
        self._conversation = Conversation(ids.new("conv"))
        self.responses = Responses(
            outbox=self._out,
            conversation=self._conversation,
            configuration=self.configuration,
            transport=transport,
        )
        self._speech_item: str | None = None
        self._speech_started_ms = 0
        self._buffered_ms = 0.0
        self._items = ItemEvents(self._out, self._conversation, self.responses)
        self._handlers: dict[str, Callable[[Json, float], None]] = {
            "session.update": self._session_update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear_input,
            "output_audio_buffer.clear": self._clear_output,
            "conversation.item.create": self._items.create,
            "conversation.item.retrieve": self._items.retrieve,
            "conversation.item.truncate": self._items.truncate,
            "conversation.item.delete": self._items.delete,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    def items(self) -> list[Json]:
        """Return the conversation's items in order, as events show them."""
        return [item.wire() for item in self._conversation]

    # What clients send

    def attached(self) -> list[Effect]:
        """A listener attached: greet it with the effective session."""
        self._out.reply("session.created", session=self.configuration.snapshot())
        return self._out.drain()

    def handle(self, frame: str | bytes, *, played_ms: float = 0.0) -> list[Effect]:
        """Take one client event as it came; `played_ms` is how much of the current playback was heard."""
        client_event_id: object = None
        try:
            try:
                event = as_object(orjson.loads(frame))
            except orjson.JSONDecodeError:
                raise RejectedError("invalid_json", "Could not parse the message as JSON.") from None
            if event is None:
                raise RejectedError("invalid_json", "A client event must be a JSON object.")
            client_event_id = event.get("event_id")
            if client_event_id is not None and not isinstance(client_event_id, str):
                raise wrong_type(client_event_id, "a string", "event_id")
            kind = event.get("type")
            if kind is None:
                raise missing("type")
            handler = self._handlers.get(kind) if isinstance(kind, str) else None
            if handler is None:
                listed = ", ".join(f"'{name}'" for name in self._handlers)
                raise RejectedError(
                    "invalid_value",
                    f"Invalid value: '{str(kind)[:100]}'. Supported values are: {listed}.",
                    param="type",
                )
            handler(event, played_ms)
        except RejectedError as rejected:
            self._out.error(rejected, client_event_id)
        return self._out.drain()

    # What the ears tell

    @property
    def speaking(self) -> bool:
        """Whether the caller is speaking, as far as the session was told."""
        return self._speech_item is not None

    def input_arrived(self, milliseconds: float) -> None:
        """Audio came by the media leg (not by `append`)."""
        self._buffered_ms += milliseconds

    def speech_started(self, at_ms: int, *, played_ms: float = 0.0) -> list[Effect]:
        """The caller began to speak `at_ms` into the session's audio."""
        detection = self.configuration.turn_detection
        if detection is None or self._speech_item is not None:
            return []
        self._speech_item = self._ids.new("item")
        self._speech_started_ms = at_ms
        self._out.event("input_audio_buffer.speech_started", item_id=self._speech_item, audio_start_ms=at_ms)
        self._out.add(DisarmIdleTimer())
        if detection.interrupt_response:
            self.responses.cancel("turn_detected")
            if self.responses.sounding:
                self.responses.clear_playback(played_ms)
        return self._out.drain()

    def speech_stopped(self, at_ms: int) -> list[Effect]:
        """The caller stopped; the turn's audio becomes an item and, if so configured, gets an answer."""
        detection = self.configuration.turn_detection
        item_id, self._speech_item = self._speech_item, None
        if item_id is None:
            return []
        self._out.event("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=at_ms)
        self._commit_item(item_id, max(0, at_ms - self._speech_started_ms))
        if detection is not None and detection.create_response and self.responses.active_id is None:
            self.responses.start({})
        return self._out.drain()

    def heard(self, item_id: str, text: str) -> list[Effect]:
        """The audio of `item_id` is understood (what the model hears; transcription is told apart)."""
        item = self._conversation.get(item_id)
        if item is not None and item.text is None:
            item.text = text
        self.responses.understood(item_id)
        return self._out.drain()

    def transcribed(self, item_id: str, text: str) -> list[Effect]:
        """Input transcription succeeded: emit deltas and `completed`."""
        item = self._conversation.get(item_id)
        if item is None or not self.configuration.transcribes:
            return []
        place: Json = {"item_id": item_id, "content_index": 0}
        name = "conversation.item.input_audio_transcription"
        words = text.split(" ")
        for index, word in enumerate(words):
            if word:
                self._out.event(f"{name}.delta", **place, delta=word if index == 0 else f" {word}")
        item.transcript = text
        audio, output = input_audio_tokens(item.audio_ms), text_tokens(text)
        usage: Json = {
            "type": "tokens",
            "input_tokens": audio,
            "output_tokens": output,
            "total_tokens": audio + output,
            "input_token_details": {"audio_tokens": audio, "text_tokens": 0},
        }
        self._out.event(f"{name}.completed", **place, transcript=text, usage=usage)
        return self._out.drain()

    def transcription_failed(self, item_id: str, *, code: str, message: str) -> list[Effect]:
        """Input transcription failed; the model has heard the caller all the same."""
        if self._conversation.get(item_id) is not None and self.configuration.transcribes:
            self._out.event(
                "conversation.item.input_audio_transcription.failed",
                item_id=item_id,
                content_index=0,
                error={"type": "transcription_error", "code": code, "message": message, "param": None},
            )
        return self._out.drain()

    def keep_audio(self, item_id: str, audio: bytes) -> None:
        """Keep an item's audio for `conversation.item.retrieve`; the oldest goes when it gets too much."""
        self._items.keep_audio(item_id, audio)

    def idle_timed_out(self, at_ms: int) -> list[Effect]:
        """Nobody spoke for the idle timeout: an empty turn, and an answer to it."""
        if self._speech_item is None and self.responses.active_id is None:
            item_id = self._ids.new("item")
            self._out.event(
                "input_audio_buffer.timeout_triggered",
                item_id=item_id,
                audio_start_ms=at_ms,
                audio_end_ms=at_ms,
            )
            self._commit_item(item_id, 0, text="")
            self.responses.start({})
        return self._out.drain()

    def dtmf(self, digit: str, received_at: int) -> list[Effect]:
        """A telephone key was pressed (SIP). This event carries no `event_id`."""
        self._out.event("input_audio_buffer.dtmf_event_received", event=digit, received_at=received_at)
        effects = self._out.drain()
        for effect in effects:
            event: Json = getattr(effect, "event", {})
            event.pop("event_id", None)
        return effects

    # What the mind, the voice and the playback tell

    def turn(self, response_id: str) -> Turn | None:
        """Return what the mind needs to answer, None when the response is over."""
        return self.responses.turn(response_id)

    def said(self, response_id: str, text: str) -> tuple[str, list[Effect]]:
        """The mind said something; returns what of it is to be spoken aloud ("" for none)."""
        accepted = self.responses.said(response_id, text)
        response = self.responses.get(response_id)
        audible = response is not None and response.audible
        return accepted if audible else "", self._out.drain()

    def spoke(self, response_id: str, milliseconds: float, audio: bytes | None) -> list[Effect]:
        """The voice made `milliseconds` of audio; `audio` is emitted where the client gets audio by JSON."""
        self.responses.spoke(response_id, milliseconds, audio)
        return self._out.drain()

    def called(self, response_id: str, name: str, arguments: str) -> list[Effect]:
        """The mind calls a tool with `arguments`, a JSON text."""
        self.responses.called(response_id, name, arguments)
        return self._out.drain()

    def finished(self, response_id: str) -> list[Effect]:
        """The mind has said everything."""
        self.responses.finished(response_id)
        return self._out.drain()

    def failed(self, response_id: str, *, kind: str, code: str, message: str) -> list[Effect]:
        """The response fails with this error in its `status_details`."""
        self.responses.failed(response_id, kind=kind, code=code, message=message)
        return self._out.drain()

    def playback_started(self, response_id: str) -> list[Effect]:
        """The caller hears the first of `response_id` (WebRTC and SIP)."""
        self.responses.playback_started(response_id)
        return self._out.drain()

    def playback_stopped(self, response_id: str) -> list[Effect]:
        """The caller heard the last of `response_id` (WebRTC and SIP)."""
        self.responses.playback_stopped(response_id)
        return self._out.drain()

    def expired(self, minutes: float) -> list[Effect]:
        """The session is too old: say so and end it."""
        self._out.event(
            "error",
            error={
                "type": "invalid_request_error",
                "code": "session_expired",
                "message": f"Your session hit the maximum duration of {minutes:g} minutes.",
                "param": None,
                "event_id": None,
            },
        )
        self._out.add(EndSession(close_code=1001, reason="session_expired"))
        return self._out.drain()

    # Client events

    def _session_update(self, event: Json, _played_ms: float) -> None:
        patch = check_session(event.get("session"), transport=self.transport)
        current = self.configuration
        if patch["type"] != current.kind:
            raise RejectedError(
                "invalid_value", "The session's type cannot be changed.", param="session.type"
            )
        model = patch.get("model")
        if model is not None and model != current.data.get("model"):
            raise RejectedError(
                "invalid_value", "The session's model cannot be changed.", param="session.model"
            )
        voice = object_at(patch, "audio", "output").get("voice")
        if voice is not None and voice != current.voice and self.responses.audio_present:
            raise RejectedError(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                param="session.audio.output.voice",
            )
        current.apply(patch)
        self._out.add(Reconfigured())
        self._out.event("session.updated", session=current.snapshot())
        self._list_mcp_tools(patch)

    def _list_mcp_tools(self, patch: Json) -> None:
        for entry in as_list(patch.get("tools")) or []:
            tool = as_object(entry) or {}
            if tool.get("type") != "mcp":
                continue
            listing: Json = {"type": "mcp_list_tools", "server_label": tool.get("server_label"), "tools": []}
            item = Item(id=self._ids.new("mcpl"), role="other", raw=listing)
            previous = self._conversation.add(item)
            self._out.event("conversation.item.added", previous_item_id=previous, item=item.wire())
            self._out.event("mcp_list_tools.in_progress", item_id=item.id)
            # The emulator reaches no MCP server; the service says the same of one it can't reach.
            self._out.event("mcp_list_tools.failed", item_id=item.id)

    def _append(self, event: Json, _played_ms: float) -> None:
        if self.transport != "websocket":
            raise RejectedError(
                "invalid_value",
                "'input_audio_buffer.append' is not available here: the call's media connection carries "
                "the audio.",
                param="type",
            )
        audio = event.get("audio")
        if audio is None:
            raise missing("audio")
        if not isinstance(audio, str):
            raise wrong_type(audio, "a string", "audio")
        try:
            decoded = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise RejectedError(
                "invalid_value", "Invalid 'audio': expected base64-encoded audio bytes.", param="audio"
            ) from None
        if len(decoded) > MAX_APPEND_BYTES:
            raise RejectedError(
                "string_above_max_length", "Invalid 'audio': at most 15 MiB an event.", param="audio"
            )
        pcm = self.configuration.input_format == "audio/pcm"
        if pcm and len(decoded) % 2:
            raise RejectedError(
                "invalid_value", "Invalid 'audio': 16-bit PCM needs an even number of bytes.", param="audio"
            )
        self._buffered_ms += len(decoded) / (48 if pcm else 8)
        self._out.add(InputAudio(audio=decoded))

    def _commit(self, _event: Json, _played_ms: float) -> None:
        if self._buffered_ms < _MIN_COMMIT_MS:
            raise RejectedError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {self._buffered_ms:.2f}ms of audio.",
            )
        item_id, self._speech_item = self._speech_item or self._ids.new("item"), None
        self._commit_item(item_id, self._buffered_ms)

    def _commit_item(self, item_id: str, audio_ms: float, text: str | None = None) -> None:
        self._buffered_ms = 0.0
        item = Item(id=item_id, role="user", text=text, audio_ms=audio_ms, spoken=True)
        previous = self._conversation.add(item)
        self._out.event("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        self._out.event("conversation.item.added", previous_item_id=previous, item=item.wire())
        self._out.event("conversation.item.done", previous_item_id=previous, item=item.wire())
        if text is None:
            self._out.add(Hear(item_id=item_id))

    def _clear_input(self, _event: Json, _played_ms: float) -> None:
        self._buffered_ms = 0.0
        self._speech_item = None
        self._out.add(DiscardInput())
        self._out.event("input_audio_buffer.cleared")

    def _clear_output(self, _event: Json, played_ms: float) -> None:
        if self.transport == "websocket":
            raise RejectedError(
                "invalid_value", f"'output_audio_buffer.clear' {_ON_CALLS_ONLY}", param="type"
            )
        self.responses.clear_playback(played_ms)

    def _create_response(self, event: Json, _played_ms: float) -> None:
        self.responses.create(event.get("response"))

    def _cancel_response(self, event: Json, _played_ms: float) -> None:
        if not self.responses.cancel("client_cancelled", as_text(event.get("response_id"))):
            raise RejectedError("response_cancel_not_active", "Cancellation failed: no active response found")
