"""Agents that ask first and are recorded, handed over to and back, owners that die anywhere: no agent is
heard, does anything or is recorded before its caller has consented to it, and nothing is asked twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_worker.conversation.consent import ConsentTerms
from realtime_worker.conversation.effects import Effect, Record, RunInline, StartDurable
from shared.session.log import (
    CallEvent,
    CallEventKind,
    ConsentNoted,
    ConsentStep,
    HandedOver,
    LogEntry,
    ToolCalled,
    ToolExecution,
)
from tests.unit.conversation.team_scene import BILLING, RECEPTION
from tests.unit.conversation.test_handoff_properties import World

TOLD = ConsentTerms(name="told", announcement="You talk to an assistant.")
ASKED = ConsentTerms(name="asked", announcement="This call is recorded. All right?", ask=True)
TERMS = {"reception": TOLD, "billing": ASKED}
CONSENT = {"record_consent": ToolExecution.CONVERSATION}
TOOLS = (
    "verify", "look_up", "book", "pay", "handoff_to_billing", "handoff_to_billing", "handoff_to_reception",
)  # fmt: skip
STEPS = (
    "respond", "respond", "hear", "hear", "agree", "finish", "finish", "speak", "wait",
    "before", "after", "die",
)  # fmt: skip


ROLES = {
    "reception": replace(RECEPTION, consent=TOLD, executions={**RECEPTION.executions, **CONSENT}),
    "billing": replace(BILLING, consent=ASKED, records=True, executions={**BILLING.executions, **CONSENT}),
}


class AskingWorld(World):
    """The same service, which also tells what was heard, with agents that have something to say first."""

    def __init__(self) -> None:
        self.unheard = ""
        super().__init__(ROLES, {"record_consent": '{"given": true}'})

    def commit(self, effects: list[Effect]) -> set[str]:
        known = super().commit(effects)
        for effect in effects:
            match effect:
                case Record(entry=ConsentNoted() as entry):
                    assert entry not in [replace(one, at_ms=entry.at_ms) for one in noted(self.log)]
                    self.log.append(entry)
                case Record(entry=CallEvent() as entry):
                    wanted = entry.event is CallEventKind.RECORDING_ASKED
                    assert wanted == (speaker(self.log) == "billing" and settled(self.log))
                    self.log.append(entry)
                case RunInline() | StartDurable() if effect.tool_call_id not in known:
                    ids = [one.tool_call_id if isinstance(one, ToolCalled) else "" for one in self.log]
                    before = self.log[: ids.index(effect.tool_call_id)]
                    formers = effect.agent != speaker(before)  # called before the handoff took effect
                    assert formers or settled(before), f"{effect.name} runs before the caller has agreed"
                case _:
                    pass
        return known

    def receive(self, event: Mapping[str, object]) -> None:
        if event["type"] == "response.create":
            asked = cast("Mapping[str, str]", event["response"]).get("instructions", "")
            terms = TERMS[speaker(self.log)]
            if ConsentStep.ANNOUNCED not in steps(self.log, terms):
                assert asked.endswith(terms.announcement), f"{asked!r} came first"
            elif not asked.endswith("Over to billing."):
                assert terms.announcement not in asked, "it was said again"
        super().receive(event)

    def respond(self, names: list[str], metadata: object = None) -> None:
        super().respond(names, metadata)
        self.unheard = f"r{self.responses}"

    def hear(self) -> None:
        response, self.unheard = self.unheard, ""
        self.say("output_audio_buffer.stopped", response_id=response)

    def agree(self) -> None:
        self.respond(["record_consent"])


def noted(log: Iterable[LogEntry]) -> list[ConsentNoted]:
    return [entry for entry in log if isinstance(entry, ConsentNoted)]


def speaker(log: Iterable[LogEntry]) -> str:
    handed = [entry.to_agent for entry in log if isinstance(entry, HandedOver)]
    return handed[-1] if handed else "reception"


def steps(log: Iterable[LogEntry], terms: ConsentTerms) -> set[ConsentStep]:
    return {entry.step for entry in noted(log) if entry.terms == terms.name}


def settled(log: Iterable[LogEntry]) -> bool:
    """Whether who speaks at the end of the log may go on."""
    entries = list(log)
    terms = TERMS[speaker(entries)]
    return (ConsentStep.GIVEN if terms.ask else ConsentStep.ANNOUNCED) in steps(entries, terms)


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 50)), max_size=50))
@settings(max_examples=150, deadline=None)
def test_no_agent_comes_before_its_consent(taken: list[tuple[str, int]]) -> None:
    world = AskingWorld()
    world.hear()
    world.respond(["verify"])
    world.finish_one(1)
    for kind, number in taken:
        match kind:
            case "respond":
                world.respond([TOOLS[number % len(TOOLS)]])
            case "hear":
                world.hear()
            case "agree":
                world.agree()
            case "finish":
                world.finish_one(number)
            case "speak":
                world.speak()
            case "wait":
                world.now += 700
                world.take(world.subject.tick(world.now))
            case "die":
                world.attach()
            case _:
                world.die = kind
    world.die = ""
    world.attach()
    for number in range(60):  # left in peace, with a caller who agrees
        world.finish_one(number)
        world.now += 3_000
        world.take(world.subject.tick(world.now))
        world.hear()
    if not settled(world.log):
        world.agree()
    assert settled(world.log), "the caller was never asked"
    events = [entry.event for entry in world.log if isinstance(entry, CallEvent)]
    wanted = bool(events) and events[-1] is CallEventKind.RECORDING_ASKED
    assert wanted == (speaker(world.log) == "billing")
