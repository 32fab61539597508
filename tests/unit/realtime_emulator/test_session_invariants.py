"""Whatever happens in whatever order, a session's events stay consistent."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from emulators.realtime.session.core import SessionCore
from emulators.realtime.session.effects import Effect, Emit, EndOfSpeech, Hear, StopThinking, Think
from tests.unit.realtime_emulator.session_driver import new_core, send


class Conversation(RuleBasedStateMachine):
    """Plays client, caller, mind and playback at random."""

    @initialize(transport=st.sampled_from(["webrtc", "sip", "websocket"]))
    def begin(self, transport: str) -> None:
        self.core: SessionCore = new_core(transport)  # type: ignore[arg-type]
        self.clock = 0
        self.events: list[dict[str, object]] = []
        self.thinking: list[str] = []
        self.unheard: list[str] = []
        self.sounding: list[str] = []
        self.playing: str | None = None
        self.complete: set[str] = set()
        self.tool_calls: list[str] = []

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Emit(event=event):
                    self.events.append(event)
                    if event["type"] == "output_audio_buffer.cleared":
                        self.sounding, self.playing = [], None
                    if event["type"] == "response.function_call_arguments.done":
                        self.tool_calls.append(str(event["call_id"]))
                case Think(response_id=response_id):
                    self.thinking.append(response_id)
                case StopThinking(response_id=response_id):
                    self.thinking = [one for one in self.thinking if one != response_id]
                case Hear(item_id=item_id):
                    self.unheard.append(item_id)
                case EndOfSpeech(response_id=response_id):
                    self.complete.add(response_id)
                case _:
                    pass

    def tick(self) -> int:
        self.clock += 700
        return self.clock

    @rule(played=st.floats(0, 4000))
    def caller_begins(self, played: float) -> None:
        self.take(self.core.speech_started(self.tick(), played_ms=played))

    @precondition(lambda self: self.core.speaking)
    @rule()
    def caller_stops(self) -> None:
        self.take(self.core.speech_stopped(self.tick()))

    @precondition(lambda self: self.unheard)
    @rule(text=st.sampled_from(["hello", "", "what is that"]), failed=st.booleans())
    def understood(self, text: str, failed: bool) -> None:
        item_id = self.unheard.pop()
        self.take(self.core.heard(item_id, text))
        if failed:
            self.take(self.core.transcription_failed(item_id, code="x", message="y"))
        else:
            self.take(self.core.transcribed(item_id, text))

    @precondition(lambda self: len(self.thinking) < 3)
    @rule(beside=st.booleans(), text=st.booleans())
    def client_asks(self, beside: bool, text: bool) -> None:
        response: dict[str, object] = {"conversation": "none"} if beside else {}
        if text:
            response["output_modalities"] = ["text"]
        self.take(send(self.core, "response.create", response=response))

    @precondition(lambda self: self.thinking)
    @rule()
    def client_cancels(self) -> None:
        self.take(send(self.core, "response.cancel"))

    @precondition(lambda self: self.sounding)
    @rule(played=st.floats(0, 4000))
    def client_clears(self, played: float) -> None:
        self.take(self.core.handle('{"type": "output_audio_buffer.clear"}', played_ms=played))

    @precondition(lambda self: self.thinking)
    @rule(text=st.sampled_from(["Yes.", "One two three four five six seven."]), ms=st.integers(1, 3000))
    def mind_says(self, text: str, ms: int) -> None:
        response_id = self.thinking[0]
        aloud, effects = self.core.said(response_id, text)
        self.take(effects)
        if aloud:
            self.take(self.core.spoke(response_id, ms, None))
            if self.core.transport != "websocket" and response_id not in self.sounding:
                self.sounding.append(response_id)

    @precondition(lambda self: self.thinking)
    @rule()
    def mind_calls(self) -> None:
        self.take(self.core.called(self.thinking[0], "look_up", '{"a": 1}'))

    @precondition(lambda self: self.thinking)
    @rule(fails=st.booleans())
    def mind_ends(self, fails: bool) -> None:
        response_id = self.thinking.pop(0)
        self.take(
            self.core.failed(response_id, kind="server_error", code="x", message="y")
            if fails
            else self.core.finished(response_id)
        )

    @precondition(lambda self: self.tool_calls)
    @rule()
    def tool_answers(self) -> None:
        item = {"type": "function_call_output", "call_id": self.tool_calls.pop(), "output": "{}"}
        self.take(send(self.core, "conversation.item.create", item=item))

    @precondition(lambda self: self.sounding and self.playing is None)
    @rule()
    def playback_begins(self) -> None:
        self.playing = self.sounding[0]
        self.take(self.core.playback_started(self.playing))

    @precondition(lambda self: self.playing is not None and self.playing in self.complete)
    @rule()
    def playback_ends(self) -> None:
        assert self.playing is not None
        ended, self.playing = self.playing, None
        self.sounding.remove(ended)
        self.take(self.core.playback_stopped(ended))

    @rule()
    def silence(self) -> None:
        self.take(self.core.idle_timed_out(self.tick()))

    @invariant()
    def event_ids_are_unique(self) -> None:
        ids = Counter(event["event_id"] for event in self.events)
        assert not [event_id for event_id, count in ids.items() if count > 1]

    @invariant()
    def responses_and_items_open_once_and_close_once(self) -> None:
        open_responses: dict[str, bool] = {}
        closed: set[str] = set()
        added: set[str] = set()
        done: set[str] = set()
        for event in self.events:
            response = event.get("response")
            item = event.get("item")
            match event["type"]:
                case "response.created":
                    assert isinstance(response, dict)
                    in_conversation = response["conversation_id"] is not None
                    assert not (in_conversation and any(open_responses.values())), "two at once"
                    open_responses[response["id"]] = in_conversation
                case "response.done":
                    assert isinstance(response, dict)
                    del open_responses[response["id"]]
                    closed.add(response["id"])
                    assert response["status"] != "in_progress"
                    assert {entry["status"] for entry in response["output"]} <= {"completed", "incomplete"}
                case "conversation.item.added":
                    assert isinstance(item, dict)
                    assert item["id"] not in added
                    added.add(item["id"])
                case "conversation.item.done":
                    assert isinstance(item, dict)
                    assert item["id"] in added
                    assert item["id"] not in done
                    done.add(item["id"])
                case _:
                    if "response_id" in event and str(event["type"]).startswith("response."):
                        assert event["response_id"] in open_responses, event


Conversation.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestConversation = Conversation.TestCase
