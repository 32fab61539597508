"""Whatever happens, the provider session in use knows the conversation, and owes nobody an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime_worker.conversation.consent import ConsentTerms
from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.effects import ChangeSession, PrepareSession, RunInline, Send, StartDurable
from shared.session.log import (
    LogEntry,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolMadeDurable,
    ToolStatus,
    UserTurn,
)
from tests.unit.conversation.scene import Scene, call_item, conversation, message_item

HOUR_S = 3_600


class Service:
    """One provider session: refuses what the service refuses, answers what it answers."""

    def __init__(self, number: int) -> None:
        self.id = f"sess_{number}"
        self.items: list[dict[str, object]] = []
        self.active = ""
        self.answers = 0

    def calls(self, kind: str) -> list[str]:
        return [str(item["call_id"]) for item in self.items if item["type"] == kind]


class Continuing(RuleBasedStateMachine):
    """A conversation that loses its provider sessions and its workers all the time."""

    tools: tuple[tuple[str, ...], ...] = (("look_up",), ("pay",), ("book",))
    consent: ConsentTerms | None = None

    def __init__(self) -> None:
        super().__init__()
        self.sessions = 0
        self.number = 0
        self.log: list[LogEntry] = []
        self.start(self.owner())

    def owner(
        self,
        *,
        resumed: bool = False,
        history: Iterable[LogEntry] = (),
        unanswered: Iterable[ToolCalled] = (),
        answered: Mapping[str, str] = {},
    ) -> Conversation:
        return conversation(
            greeting="Hello.",
            own_session=True,
            resumed=resumed,
            history=history,
            unanswered=unanswered,
            answered=answered,
            consent=self.consent,
            records=self.consent is not None,
        )

    def start(self, subject: Conversation) -> None:
        """A worker begins to own the session."""
        now = self.scene.now if self.sessions else 1_000_000
        self.scene = Scene(subject, talking=False)
        self.scene.now = now
        self.logged = 0
        self.connect()

    def connect(self) -> None:
        self.sessions += 1
        self.service = Service(self.sessions)
        self.seen = len(self.scene.effects)
        self.scene.take(self.scene.subject.opened(self.scene.now))
        session = {"id": self.service.id, "expires_at": self.scene.now // 1000 + HOUR_S}
        self.scene.say("session.created", session=session)
        self.scene.say("session.updated", session=session)

    def keep_log(self) -> None:
        entries = self.scene.entries()
        self.log.extend(entries[self.logged :])
        self.logged = len(entries)

    @rule()
    def service_reads(self) -> None:
        effects, self.seen = self.scene.effects[self.seen :], len(self.scene.effects)
        for effect in effects:
            match effect:
                case Send() if effect.event["type"] == "conversation.item.create":
                    self.add(cast("dict[str, object]", effect.event["item"]))
                case Send() if effect.event["type"] == "response.create":
                    self.asked(effect.event)
                case PrepareSession():
                    self.scene.take(self.scene.subject.prepared(self.scene.now, succeeded=True))
                case ChangeSession():
                    self.session_is_lost()
                    return
                case _:
                    pass

    def add(self, item: dict[str, object]) -> None:
        assert item["id"] not in {known["id"] for known in self.service.items}, "an item came twice"
        if item["type"] == "function_call_output":
            assert item["call_id"] in self.service.calls("function_call"), "an output before its call"
        self.service.items.append(item)
        self.scene.say("conversation.item.added", item=item)

    def asked(self, request: Mapping[str, object]) -> None:
        if self.service.active:  # a request of ours that took so long that it was repeated
            busy = "conversation_already_has_active_response"
            self.scene.say("error", error={"code": busy, "event_id": request["event_id"]})
        else:
            self.begin(cast("dict[str, object]", request["response"]))

    def begin(self, response: dict[str, object]) -> None:
        self.number += 1
        self.service.active = f"r{self.number}"
        created = {"id": self.service.active, "metadata": response.get("metadata")}
        self.scene.say("response.created", response=created)
        self.scene.say("response.output_audio.delta", response_id=self.service.active, delta="AAAA")

    def end(self, calls: int, status: str = "completed") -> None:
        response_id, self.service.active = self.service.active, ""
        items = [message_item(f"a_{response_id}", "So it is.")]
        for place in range(calls):
            items.append(call_item(f"{response_id}_{place}", *self.tools[place % len(self.tools)]))
        self.service.items.extend(items)
        self.service.answers += 1
        done = {"id": response_id, "status": status, "output": items}
        self.scene.say("response.done", response=done)

    # --- what can happen --------------------------------------------------------------------------

    @rule(calls=st.integers(0, 3))
    @precondition(lambda self: self.service.active)
    def response_ends(self, calls: int) -> None:
        self.end(calls)

    @rule(transcribed=st.booleans())
    def caller_speaks(self, transcribed: bool) -> None:
        self.service_reads()
        self.number += 1
        item_id = f"u{self.number}"
        self.scene.say("input_audio_buffer.speech_started", item_id=item_id)
        self.scene.now += 300
        if self.service.active:
            self.end(0, "cancelled")
        self.scene.say("input_audio_buffer.speech_stopped", item_id=item_id)
        said = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        self.service.items.append(said)
        if transcribed:
            kind = "conversation.item.input_audio_transcription.completed"
            self.scene.say(kind, item_id=item_id, transcript="And then?")
        self.service_reads()
        if not self.service.active:
            self.begin({})

    @rule(number=st.integers(0, 60))
    def a_tool_finishes(self, number: int) -> None:
        started = self.started()
        if started:
            self.finish(started[number % len(started)])

    @rule(number=st.integers(0, 60))
    def a_tool_asks_a_person(self, number: int) -> None:
        started = self.scene.wanted(RunInline)
        if started:
            call = started[number % len(started)].tool_call_id
            self.scene.take(self.scene.subject.tool_asks(call, self.scene.now))

    def started(self) -> list[str]:
        effects = [e for e in self.scene.effects if isinstance(e, RunInline | StartDurable)]
        return [effect.tool_call_id for effect in effects]

    def finish(self, call: str) -> None:
        self.scene.take(self.scene.subject.tool_finished(call, ToolStatus.OK, "{}", 1.0, self.scene.now))

    @rule()
    def session_is_lost(self) -> None:
        self.scene.subject.lost()
        self.connect()

    @rule()
    def owner_dies(self) -> None:
        """With everything it had in memory; what it recorded is in the log."""
        self.keep_log()
        finished = {entry.tool_call_id: entry for entry in self.log if isinstance(entry, ToolFinished)}
        durable = {entry.tool_call_id for entry in self.log if isinstance(entry, ToolMadeDurable)}
        called = [
            replace(entry, execution=ToolExecution.DURABLE) if entry.tool_call_id in durable else entry
            for entry in self.log
            if isinstance(entry, ToolCalled)
        ]
        self.start(
            self.owner(
                resumed=True,
                history=self.log,
                unanswered=[entry for entry in called if entry.tool_call_id not in finished],
                answered={call: entry.output for call, entry in finished.items()},
            )
        )

    @rule(milliseconds=st.sampled_from([10, 900, 30_000, HOUR_S * 1000 - 100_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.scene.wait(milliseconds)

    # --- promises -----------------------------------------------------------------------------------

    @invariant()
    def every_call_of_the_session_has_at_most_one_output(self) -> None:
        assert set(Counter(self.service.calls("function_call_output")).values()) <= {1}
        assert set(Counter(self.service.calls("function_call")).values()) <= {1}

    @invariant()
    def every_call_is_recorded_once_and_settled_at_most_once(self) -> None:
        entries = [*self.log, *self.scene.entries()[self.logged :]]
        for kind in (ToolCalled, ToolFinished):
            recorded = [entry.tool_call_id for entry in entries if isinstance(entry, kind)]
            assert len(recorded) == len(set(recorded))
        turns = [entry.item_id for entry in entries if isinstance(entry, UserTurn)]
        assert len(turns) == len(set(turns))

    def teardown(self) -> None:
        """Left in peace, every call gets its one output and the last word is the agent's."""
        for _ in range(20):
            self.service_reads()
            if self.service.active:
                self.end(0)
            for call in self.started():
                self.finish(call)
            self.scene.wait(2_000)
        self.keep_log()
        finished = [entry.tool_call_id for entry in self.log if isinstance(entry, ToolFinished)]
        called = [entry.tool_call_id for entry in self.log if isinstance(entry, ToolCalled)]
        assert sorted(finished) == sorted(called), "a call was left without an outcome"
        told = self.service.calls("function_call")
        assert sorted(self.service.calls("function_call_output")) == sorted(told)
        last = self.service.items[-1]
        assert (last["type"], last.get("role")) == ("message", "assistant"), "somebody waits for an answer"


TestContinuing = Continuing.TestCase
TestContinuing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
