"""Handoffs, owners that die anywhere, parallel calls in any order: one output each, one agent in charge."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.effects import (
    CancelTool,
    Effect,
    EnterAgent,
    Record,
    RunInline,
    Send,
    SetStanding,
    StartDurable,
)
from realtime_worker.conversation.role import Accepted, Role
from shared.session.commands import InboxEntry, ReportProgress, ToolResult
from shared.session.log import HandedOver, LogEntry, ToolCalled, ToolFinished, ToolStatus
from shared.session.model import Standing, holds
from tests.unit.conversation.scene import call_item
from tests.unit.conversation.team_scene import ROLES, team_conversation

MAX_HANDOFFS = 4
TOOLS = ("verify", "look_up", "book", "pay", "handoff_to_billing", "handoff_to_reception")

STEPS = (
    "respond", "respond2", "finish", "finish", "speak", "progress", "wait", "before", "after", "die",
)  # fmt: skip

Step = tuple[str, int]


class World:
    """A service, a store and a shell, as far as handoffs need them; what is recorded is committed first.

    arguments: what the model gives to tools, by their names.
    """

    def __init__(self, roles: Mapping[str, Role] = ROLES, arguments: Mapping[str, str] = {}) -> None:
        self.roles = roles
        self.arguments = arguments
        self.log: list[LogEntry] = []
        self.standing: Standing | None = None
        self.items: dict[str, dict[str, object]] = {}  # of the service's conversation
        self.session: Mapping[str, object] = {}
        self.waiting: list[RunInline | StartDurable | EnterAgent] = []
        self.durable: dict[str, StartDurable] = {}
        self.epoch = self.responses = self.calls = self.results = 0
        self.now = 1_000_000
        self.die = ""
        self.subject = self.attach()

    # --- owners ---------------------------------------------------------------------------------

    def attach(self) -> Conversation:
        """Another owner takes over from what is recorded."""
        self.epoch += 1
        self.waiting.clear()
        called = [entry for entry in self.log if isinstance(entry, ToolCalled)]
        done = {entry.tool_call_id: entry.output for entry in self.log if isinstance(entry, ToolFinished)}
        self.subject = team_conversation(
            standing=self.standing,
            unanswered=[call for call in called if call.tool_call_id not in done],
            answered=done,
            resumed=self.epoch > 1,
            max_handoffs=MAX_HANDOFFS,
            epoch=self.epoch,
            history=self.log,
            roles=self.roles,
        )
        self.take(self.subject.opened(self.now))
        return self.subject

    def take(self, effects: list[Effect]) -> None:
        if not effects:
            return
        if self.die == "before":
            self.fall()
            return
        known = self.commit(effects)
        if self.die == "after":
            self.fall()
            return
        owner = self.epoch
        for effect in effects:
            if self.epoch != owner:  # it has died meanwhile
                return
            match effect:
                case Send(event=event):
                    self.receive(event)
                case EnterAgent() | RunInline() if effect.tool_call_id not in known:
                    self.waiting.append(effect)
                case StartDurable() if effect.tool_call_id not in known:
                    self.durable[effect.tool_call_id] = effect
                case CancelTool(tool_call_id=call):
                    assert self.status_of(call) is ToolStatus.CANCELLED, "cancelled before its record"
                    if call not in known:
                        self.waiting = [one for one in self.waiting if one.tool_call_id != call]
                case _:
                    pass

    def status_of(self, call: str) -> ToolStatus | None:
        finished = (one for one in self.log if isinstance(one, ToolFinished) and one.tool_call_id == call)
        return next((one.status for one in finished), None)

    def fall(self) -> None:
        self.die = ""
        self.attach()

    def commit(self, effects: list[Effect]) -> set[str]:
        known: set[str] = set()
        for effect in effects:
            match effect:
                case Record(entry=ToolCalled() | ToolFinished() as entry):
                    same = [one for one in self.log if type(one) is type(entry)]
                    if any(one.tool_call_id == entry.tool_call_id for one in same):  # type: ignore[union-attr]
                        known.add(entry.tool_call_id)
                    else:
                        self.log.append(entry)
                case Record(entry=HandedOver() as entry):
                    assert holds_all(self.standing, entry), "handed over without the facts"
                    self.log.append(entry)
                case SetStanding(standing=standing):
                    self.standing = standing
                case _:
                    pass
        return known

    # --- the service ------------------------------------------------------------------------------

    def receive(self, event: Mapping[str, object]) -> None:
        match event["type"]:
            case "session.update":
                self.session = {**self.session, **cast("dict[str, object]", event["session"])}
                self.say("session.updated", session=dict(self.session))
            case "conversation.item.create":
                item = cast("dict[str, object]", event["item"])
                item_id = str(item["id"])
                if item_id in self.items:
                    code = "item_create_duplicate_item_id"
                    self.say("error", error={"code": code, "event_id": event["event_id"]})
                else:
                    previous = next(reversed(self.items), "root")
                    self.items[item_id] = item
                    self.say("conversation.item.added", item=item, previous_item_id=previous)
            case "conversation.item.delete":
                self.items.pop(str(event["item_id"]), None)
            case "conversation.item.retrieve":
                if found := self.items.get(str(event["item_id"])):
                    self.say("conversation.item.retrieved", item=found)
            case "response.create":
                metadata = cast("dict[str, object]", event["response"])["metadata"]
                self.respond([], metadata)
            case _:
                pass

    def say(self, kind: str, **fields: object) -> None:
        self.now += 1
        self.take(self.subject.provider_event({"type": kind, **fields}, self.now))

    def respond(self, names: list[str], metadata: object = None) -> None:
        self.responses += 1
        response = f"r{self.responses}"
        items: list[dict[str, object]] = []
        for name in names:
            self.calls += 1
            items.append(call_item(f"c{self.calls}", name, self.arguments.get(name, "{}")))
        if not items:
            items.append({"id": f"m{self.responses}", "type": "message", "role": "assistant", "content": []})
        self.say("response.created", response={"id": response, "metadata": metadata})
        for item in items:
            self.items[str(item["id"])] = item
        for item in items:
            self.say("response.output_item.done", response_id=response, item=item)
        self.say("response.done", response={"id": response, "status": "completed", "output": items})

    # --- tools, and a caller who speaks over them ---------------------------------------------------

    def speak(self) -> None:
        """The caller says something while tools run."""
        self.say("input_audio_buffer.speech_started", item_id=f"u{self.now}")
        self.say("input_audio_buffer.speech_stopped", item_id=f"u{self.now}")

    def progress(self, number: int) -> None:
        """A tool tells how far it is; also one that has ended or lost its owner."""
        if self.durable and number % 2:
            call = sorted(self.durable)[number % len(self.durable)]
            self.results += 1
            told = ReportProgress(tool_call_id=call, text="Half of it is done.")
            entry = InboxEntry(entry_id=f"{self.results}-0", command=told)
            self.take(self.subject.command(entry, self.now))
        elif self.calls:
            call = f"c{number % self.calls + 1}"
            self.take(self.subject.tool_progressed(call, "Half of it is done.", self.now))

    def finish_one(self, number: int) -> None:
        if self.durable and (number % 3 == 0 or not self.waiting):
            call = self.durable.pop(sorted(self.durable)[number % len(self.durable)])
            self.results += 1
            result = ToolResult(
                tool_call_id=call.tool_call_id, status=ToolStatus.OK, output="{}", duration_ms=1
            )
            entry = InboxEntry(entry_id=f"{self.results}-0", command=result)
            self.take(self.subject.command(entry, self.now))
        elif self.waiting:
            call = self.waiting.pop(number % len(self.waiting))
            if isinstance(call, EnterAgent):
                answer = Accepted(role=self.roles[call.agent])
                self.take(self.subject.handoff_answered(call.tool_call_id, answer, self.now))
            elif isinstance(call, RunInline):
                facts = {"member_verified": True} if call.name == "verify" else {}
                effects = self.subject.tool_finished(
                    call.tool_call_id, ToolStatus.OK, "{}", 1.0, self.now, facts
                )
                self.take(effects)


def holds_all(standing: Standing | None, entry: HandedOver) -> bool:
    needed = ("member_verified",) if entry.to_agent == "billing" else ()
    return (standing is not None and all(holds(standing.facts.get(fact)) for fact in needed)) or not needed


@given(
    st.lists(
        st.tuples(
            st.sampled_from(STEPS),
            st.integers(0, 50),
        ),
        max_size=40,
    )
)
@settings(max_examples=150, deadline=None)
def test_every_call_has_one_output_and_the_record_says_who_speaks(steps: list[Step]) -> None:
    world = World()
    for kind, number in steps:
        match kind:
            case "respond":
                world.respond([TOOLS[number % len(TOOLS)]])
            case "respond2":
                world.respond([TOOLS[number % len(TOOLS)], TOOLS[number // 7 % len(TOOLS)]])
            case "finish":
                world.finish_one(number)
            case "speak":
                world.speak()
            case "progress":
                world.progress(number)
            case "wait":
                world.now += 700
                world.take(world.subject.tick(world.now))
            case "die":
                world.attach()
            case _:
                world.die = kind
    world.die = ""
    world.attach()
    for number in range(120):  # left in peace
        world.finish_one(number)
        world.now += 3_000
        world.take(world.subject.tick(world.now))

    called = [entry.tool_call_id for entry in world.log if isinstance(entry, ToolCalled)]
    finished = [entry.tool_call_id for entry in world.log if isinstance(entry, ToolFinished)]
    assert len(called) == len(set(called))
    assert sorted(finished) == sorted(called), "a call was answered twice, or never"
    cancelled = [one for one in world.log if isinstance(one, ToolFinished) and one.status == "cancelled"]
    assert {one.name for one in cancelled} <= {"look_up"}, "nobody had said that it may be cancelled"
    outputs = [item["call_id"] for item in world.items.values() if item["type"] == "function_call_output"]
    assert len(outputs) == len(set(outputs)), "the service heard an output twice"
    assert set(outputs) == set(called), "an output never reached the service"
    handed = [entry for entry in world.log if isinstance(entry, HandedOver)]
    assert len(handed) <= MAX_HANDOFFS
    speaks = world.standing.agent if world.standing else "reception"
    assert speaks == (handed[-1].to_agent if handed else "reception")
    assert world.session["instructions"] == f"You are {speaks}.", "the service follows another agent"
    for before, after in pairwise(handed):
        assert before.to_agent == after.from_agent
