"""Whatever happens in whatever order: first the announcement, then consent, then everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from realtime_worker.conversation.consent import ConsentTerms
from realtime_worker.conversation.effects import AskRecording, Record, RunInline, Send, StartDurable
from shared.session.log import ConsentNoted, ConsentStep
from tests.unit.conversation.scene import Scene, conversation
from tests.unit.conversation.test_own_session_properties import Continuing
from tests.unit.conversation.test_properties import Conversing

WORDS = "This call is recorded."
TERMS = ConsentTerms(name="rec", announcement=WORDS, ask=True, goodbye="Then goodbye.")


class Consenting(Conversing):
    """The same service and caller, with an agent that has to ask first."""

    tools = (
        ("record_consent", '{"given": true}'),
        ("look_up",),
        ("record_consent", '{"given": false}'),
        ("end_call",),
        ("book",),
    )

    def __init__(self) -> None:
        super().__init__()
        subject = conversation(greeting="Hello.", farewell="Farewell.", consent=TERMS, records=True)
        self.scene = Scene(subject, talking=False, watch=self.watch_requests)
        self.connect()

    @rule()
    @precondition(lambda self: self.configured)
    def caller_speaks_and_the_service_answers(self) -> None:
        """Unless the announcement is being said: then it was told not to."""
        if self.scene.subject.interruptible:
            super().caller_speaks_and_the_service_answers()  # type: ignore[operator]  # Hypothesis wraps it
            return
        self.receive()
        self.scene.say("input_audio_buffer.speech_started", item_id=f"u{self.scene.now}")
        self.scene.say("input_audio_buffer.speech_stopped", item_id=f"u{self.scene.now}")

    @rule(goodbye=st.sampled_from(["", "Goodbye."]))
    @precondition(lambda self: False)
    def operator_ends_the_call(self, goodbye: str) -> None:
        """Left out: it may happen before all else."""

    @rule()
    @precondition(lambda self: self.active and self.connected)
    def client_cuts_it_off(self) -> None:
        self.scene.say("output_audio_buffer.cleared", response_id=self.active)

    @invariant()
    def first_comes_first(self) -> None:
        reached: set[ConsentStep] = set()
        recordings = 0
        for effect in self.scene.effects:
            match effect:
                case Record(entry=ConsentNoted(step=step)):
                    assert step not in reached
                    reached.add(step)
                case Send(event=event) if event["type"] == "response.create":
                    asked = cast("Mapping[str, str]", event["response"]).get("instructions", "")
                    assert reached or asked == f"Say exactly: {WORDS}", "something else was said first"
                    assert "Hello." not in asked or ConsentStep.GIVEN in reached
                case RunInline() | StartDurable():
                    assert ConsentStep.GIVEN in reached
                case AskRecording():
                    recordings += 1
                    assert ConsentStep.GIVEN in reached
                case _:
                    pass
        assert recordings <= 1
        assert not {ConsentStep.GIVEN, ConsentStep.REFUSED} <= reached
        assert len(reached) < 2 or ConsentStep.ANNOUNCED in reached


class ConsentingAnywhere(Continuing):
    """The same agent on the telephone, with owners and provider sessions that come and go."""

    tools = Consenting.tools
    consent = TERMS

    @rule(transcribed=st.booleans())
    def caller_speaks(self, transcribed: bool) -> None:
        if self.scene.subject.interruptible:
            super().caller_speaks(transcribed)  # type: ignore[operator]  # Hypothesis wraps it

    @rule()
    @precondition(lambda self: self.service.active)
    def audio_is_heard(self) -> None:
        response_id = self.service.active
        self.end(0)
        self.scene.say("output_audio_buffer.stopped", response_id=response_id)

    @invariant()
    def nothing_is_said_twice_or_done_too_soon(self) -> None:
        reached = [entry.step for entry in self.log if isinstance(entry, ConsentNoted)]
        for effect in self.scene.effects:
            match effect:
                case Record(entry=ConsentNoted(step=step)):
                    assert step not in reached
                    reached.append(step)
                case Send(event=event) if event["type"] == "response.create":
                    asked = cast("Mapping[str, str]", event["response"]).get("instructions", "")
                    assert reached or asked == f"Say exactly: {WORDS}", "something else was said first"
                case RunInline() | StartDurable() | AskRecording():
                    assert ConsentStep.GIVEN in reached
                case _:
                    pass

    def teardown(self) -> None:
        """What is left in peace is shown elsewhere."""


TestConsenting = Consenting.TestCase
TestConsenting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestConsentingAnywhere = ConsentingAnywhere.TestCase
TestConsentingAnywhere.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
