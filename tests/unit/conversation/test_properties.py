"""Whatever happens in whatever order, the conversation keeps its promises."""

from __future__ import annotations

from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime_worker.conversation.effects import (
    CancelTool,
    Effect,
    Finish,
    Record,
    RunInline,
    Send,
    StartDurable,
)
from realtime_worker.conversation.role import ToolManners
from realtime_worker.conversation.setup import Phase
from shared.session.commands import EndCall, InboxEntry, ReportProgress, Say, ToolResult
from shared.session.log import ToolCalled, ToolFinished, ToolMadeDurable, ToolProgressed, ToolStatus
from tests.unit.conversation.scene import Scene, call_item, conversation

MANNERS = {
    "look_up": ToolManners(filler="One moment.", filler_after_ms=1_500, cancellable=True),
    "book": ToolManners(filler="I am booking it.", filler_after_ms=3_000),
}


class Conversing(RuleBasedStateMachine):
    """A service that behaves as documented, a caller and tools that behave as they like."""

    tools: tuple[tuple[str, ...], ...] = (("look_up",), ("pay",), ("book",), ("fly",))

    def __init__(self) -> None:
        super().__init__()
        subject = conversation(greeting="Hello.", manners=MANNERS)
        self.scene = Scene(subject, talking=False, watch=self.watch_requests)
        self.connected = False
        self.configured = False
        self.active = ""
        self.announced: set[str] = set()  # responses that this connection was told of
        self.responses = 0
        self.calls = 0
        self.commands = 0
        self.seen = 0
        self.items: list[dict[str, object]] = []
        self.speaking = False
        self.connect()

    # --- the service -------------------------------------------------------------------------

    def connect(self) -> None:
        self.scene.take(self.scene.subject.opened(self.scene.now))
        self.connected = True
        self.configured = False

    def receive(self) -> None:
        """The service reads what was sent: it starts, refuses or acknowledges."""
        effects, self.seen = self.scene.effects[self.seen :], len(self.scene.effects)
        for effect in effects:
            if not isinstance(effect, Send) or not self.connected:
                continue
            kind = effect.event["type"]
            if kind == "session.update":
                self.configured = True
                self.scene.say("session.updated")
            elif kind == "response.create":
                assert self.configured, "a request went out before the configuration was confirmed"
                if self.active:  # one that crossed a response of the service's own, or was repeated
                    busy = "conversation_already_has_active_response"
                    self.scene.say("error", error={"code": busy, "event_id": effect.event["event_id"]})
                else:
                    self.start(effect.event["response"])
            elif kind == "conversation.item.create":
                self.add(cast("dict[str, object]", effect.event["item"]), str(effect.event["event_id"]))
            elif kind == "conversation.item.delete":
                self.items = [item for item in self.items if item["id"] != effect.event["item_id"]]
            elif kind == "conversation.item.retrieve":
                for item in self.items:
                    if item["id"] == effect.event["item_id"]:
                        self.scene.say("conversation.item.retrieved", item=item)
            elif kind == "response.cancel" and self.active:
                self.finish("cancelled", calls=0)

    def add(self, item: dict[str, object], event_id: str) -> None:
        if any(known["id"] == item["id"] for known in self.items):
            refusal = {"code": "item_create_duplicate_item_id", "event_id": event_id}
            self.scene.say("error", error=refusal)
            return
        previous = self.items[-1]["id"] if self.items else "root"
        self.items.append(item)
        self.scene.say("conversation.item.added", item=item, previous_item_id=previous)

    def start(self, request: object) -> None:
        self.responses += 1
        self.active = f"r{self.responses}"
        self.announced.add(self.active)
        metadata = request.get("metadata") if isinstance(request, dict) else None
        self.scene.say("response.created", response={"id": self.active, "metadata": metadata})

    def finish(self, status: str, calls: int) -> None:
        items = []
        for number in range(calls):
            self.calls += 1
            items.append(call_item(f"c{self.calls}", *self.tools[number % len(self.tools)]))
        if not items:
            said = {"id": f"a_{self.active}", "type": "message", "role": "assistant", "content": []}
            self.items.append(said)
        self.items.extend(items)
        if not self.connected:
            self.active = ""
            return
        for item in items:
            self.scene.say("response.output_item.done", response_id=self.active, item=item)
        done = {"id": self.active, "status": status, "output": items}
        self.active = ""
        self.scene.say("response.done", response=done)

    @rule()
    @precondition(lambda self: self.connected)
    def service_reads(self) -> None:
        self.receive()

    @rule()
    @precondition(lambda self: self.active and self.connected)
    def audio_plays_out(self) -> None:
        self.scene.say("output_audio_buffer.started", response_id=self.active)
        self.scene.say("output_audio_buffer.stopped", response_id=self.active)

    @rule(status=st.sampled_from(["completed", "cancelled", "failed"]), calls=st.integers(0, 4))
    @precondition(lambda self: self.active and self.connected)
    def response_ends(self, status: str, calls: int) -> None:
        self.finish(status, calls if status == "completed" else 0)

    @rule()
    @precondition(lambda self: self.connected)
    def connection_drops(self) -> None:
        self.connected = self.configured = False
        self.seen = len(self.scene.effects)
        self.announced.clear()
        self.scene.subject.lost()

    @rule(calls=st.integers(0, 1))
    @precondition(lambda self: self.active and not self.connected)
    def response_ends_unheard(self, calls: int) -> None:
        self.finish("completed", calls)

    @rule()
    @precondition(lambda self: not self.connected)
    def connection_returns(self) -> None:
        self.connect()

    def watch_requests(self, effects: list[Effect]) -> None:
        asked = [e for e in effects if isinstance(e, Send) and e.event["type"] == "response.create"]
        assert not (asked and self.active in self.announced), (
            "asked although a response was known to be active"
        )
        assert len(asked) <= 1, "two requests went out at once"

    # --- the caller, the tools, the operator ----------------------------------------------------

    @rule()
    @precondition(lambda self: self.configured)
    def caller_speaks_and_the_service_answers(self) -> None:
        self.receive()
        self.scene.say("input_audio_buffer.speech_started", item_id=f"u{self.scene.now}")
        if self.active:
            self.finish("cancelled", calls=0)
        self.scene.say("input_audio_buffer.speech_stopped", item_id=f"u{self.scene.now}")
        self.receive()
        if not self.active:
            self.start(None)

    @rule(number=st.integers(0, 60), twice=st.booleans())
    def a_tool_finishes(self, number: int, twice: bool) -> None:
        """Also one that was started before the connection was lost."""
        started = [e for e in self.scene.effects if isinstance(e, RunInline | StartDurable)]
        if not started:
            return
        call = started[number % len(started)]
        for _ in range(1 + twice):
            if isinstance(call, StartDurable):
                result = ToolResult(
                    tool_call_id=call.tool_call_id, status=ToolStatus.OK, output="{}", duration_ms=1
                )
                self.command(result)
            else:
                effects = self.scene.subject.tool_finished(
                    call.tool_call_id, ToolStatus.OK, "{}", 1.0, self.scene.now
                )
                self.scene.take(effects)

    @rule(number=st.integers(0, 60))
    def a_tool_asks_a_person(self, number: int) -> None:
        """Also one that has ended or was cancelled."""
        started = self.scene.wanted(RunInline)
        if started:
            call = started[number % len(started)].tool_call_id
            self.scene.take(self.scene.subject.tool_asks(call, self.scene.now))

    @rule(number=st.integers(0, 60))
    def a_tool_tells_how_far_it_is(self, number: int) -> None:
        """Also one that has ended or was cancelled."""
        started = [e for e in self.scene.effects if isinstance(e, RunInline | StartDurable)]
        if not started:
            return
        call = started[number % len(started)]
        if isinstance(call, StartDurable):
            self.command(ReportProgress(tool_call_id=call.tool_call_id, text="Half of it is done."))
        else:
            words = "I have found it."
            self.scene.take(self.scene.subject.tool_progressed(call.tool_call_id, words, self.scene.now))

    @rule()
    def operator_says_something(self) -> None:
        self.command(Say(text="One moment."))

    @rule(goodbye=st.sampled_from(["", "Goodbye."]))
    @precondition(lambda self: self.responses > 8)
    def operator_ends_the_call(self, goodbye: str) -> None:
        self.command(EndCall(reason="operator_ended", goodbye=goodbye))

    def command(self, command: ToolResult | ReportProgress | Say | EndCall) -> None:
        self.commands += 1
        entry = InboxEntry(entry_id=f"{self.commands}-0", command=command)
        self.scene.take(self.scene.subject.command(entry, self.scene.now))

    @rule(milliseconds=st.sampled_from([1, 400, 2_000, 16_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.scene.wait(milliseconds)

    # --- promises ---------------------------------------------------------------------------------

    @invariant()
    def a_deadline_is_in_the_future_once_it_was_kept(self) -> None:
        """Else the shell would ask for ever, at once."""
        self.scene.wait(0)
        deadline = self.scene.subject.next_deadline_ms()
        assert deadline is None or deadline > self.scene.now

    @invariant()
    def every_call_is_recorded_once_and_settled_at_most_once(self) -> None:
        called = [entry.tool_call_id for entry in self.scene.logged(ToolCalled)]
        finished = [entry.tool_call_id for entry in self.scene.logged(ToolFinished)]
        assert len(called) == len(set(called))
        assert len(finished) == len(set(finished))
        assert set(finished) <= set(called)

    @invariant()
    def only_what_may_be_is_cancelled_and_after_its_record(self) -> None:
        for place, effect in enumerate(self.scene.effects):
            if isinstance(effect, CancelTool):
                recorded = [e.entry for e in self.scene.effects[:place] if isinstance(e, Record)]
                finished = [e for e in recorded if isinstance(e, ToolFinished)]
                outcome = next(e for e in finished if e.tool_call_id == effect.tool_call_id)
                assert (outcome.status, outcome.name) == (ToolStatus.CANCELLED, "look_up")

    @invariant()
    def what_becomes_durable_was_open_and_is_recorded_and_started_once(self) -> None:
        finished: set[str] = set()
        made: list[str] = []
        started: list[str] = []
        for effect in self.scene.effects:
            match effect:
                case Record(entry=ToolFinished(tool_call_id=call)):
                    finished.add(call)
                case Record(entry=ToolMadeDurable(tool_call_id=call)):
                    assert call not in finished
                    made.append(call)
                case StartDurable(tool_call_id=call, name=name):
                    started.append(call)
                    assert name == "book" or call in made
                case CancelTool(tool_call_id=call):
                    assert call not in made
                case _:
                    pass
        assert len(made) == len(set(made))
        assert len(started) == len(set(started))

    @invariant()
    def nothing_is_told_of_a_tool_that_has_ended(self) -> None:
        ended: set[str] = set()
        for entry in self.scene.entries():
            match entry:
                case ToolFinished():
                    ended.add(entry.tool_call_id)
                case ToolProgressed():
                    assert entry.tool_call_id not in ended
                case _:
                    pass

    @invariant()
    def outputs_are_sent_only_for_settled_calls(self) -> None:
        settled = {entry.tool_call_id for entry in self.scene.logged(ToolFinished)}
        assert set(self.scene.outputs()) <= settled

    @invariant()
    def an_end_is_final(self) -> None:
        finishes = self.scene.wanted(Finish)
        assert len(finishes) <= 1
        if finishes:
            assert self.scene.subject.phase is Phase.OVER
            assert isinstance(self.scene.effects[-1], Finish) or not isinstance(self.scene.effects[-1], Send)

    def teardown(self) -> None:
        """Left in peace, the conversation gets every output across and speaks about it."""
        if self.scene.subject.phase is Phase.OVER:
            return
        if not self.connected:
            self.connect()
        for _ in range(60):
            self.receive()
            if self.active:
                self.scene.say("output_audio_buffer.stopped", response_id=self.active)
                self.finish("completed", calls=0)
            self.scene.wait(3_000)
        if self.scene.subject.phase is Phase.OVER:
            return
        settled = {entry.tool_call_id for entry in self.scene.logged(ToolFinished)}
        outputs = [item["call_id"] for item in self.items if item["type"] == "function_call_output"]
        assert len(outputs) == len(set(outputs)), "the service heard an output twice"
        assert settled <= set(outputs), "an output never reached the service"
        called = {entry.tool_call_id for entry in self.scene.logged(ToolCalled)}
        asked = {item["call_id"] for item in self.items if item["type"] == "function_call"}
        assert asked <= called, "a function call was never noticed"
        assert self.scene.subject.next_deadline_ms() is None, "something wanted was never asked for"


TestConversing = Conversing.TestCase
TestConversing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
