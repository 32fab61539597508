"""What callers must hear comes first, whole, and once; until they agree nothing else happens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import pytest

from realtime_worker.conversation.consent import ATTEMPTS, ConsentTerms
from realtime_worker.conversation.effects import AskRecording, Finish, HangUp, RunInline, StartDurable
from realtime_worker.conversation.setup import Phase
from shared.session.commands import EndCall, InboxEntry, Say, Tell
from shared.session.log import (
    AgentTurn,
    CallEvent,
    CallEventKind,
    ConsentNoted,
    ConsentStep,
    ErrorRecorded,
    LogEntry,
    ToolFinished,
    ToolStatus,
    TurnStatus,
)
from tests.unit.conversation.scene import Scene, call_item, conversation, message_item

WORDS = "This call is recorded."
TOLD = ConsentTerms(name="rec", announcement=WORDS)
ASKED = ConsentTerms(name="rec", announcement=WORDS, ask=True, goodbye="Then goodbye.")
ANNOUNCED = ConsentNoted(step=ConsentStep.ANNOUNCED, terms="rec", ask=True, at_ms=5)


def begun(
    terms: ConsentTerms = TOLD,
    *,
    greeting: str = "Hello.",
    records: bool = False,
    resumed: bool = False,
    own_session: bool = False,
    history: Iterable[LogEntry] = (),
) -> Scene:
    subject = conversation(
        greeting=greeting,
        consent=terms,
        records=records,
        resumed=resumed,
        own_session=own_session,
        history=history,
    )
    scene = Scene(subject, talking=False)
    begin(scene, own_session=own_session)
    return scene


def begin(scene: Scene, *, own_session: bool = False) -> None:
    scene.take(scene.subject.opened(scene.now))
    if own_session:
        scene.say("session.created", session={"id": "sess_1"})
    scene.say("session.updated")


def words_asked_for(scene: Scene) -> list[str]:
    """What we asked the service to say, oldest first; "" for a reply of the model's own."""
    responses = [cast("Mapping[str, str]", event["response"]) for event in scene.sent("response.create")]
    return [response.get("instructions", "").removeprefix("Say exactly: ") for response in responses]


def speak(scene: Scene, response_id: str, words: str = WORDS, *, status: str = "completed") -> None:
    """The service says what was asked for last."""
    scene.accept_request(response_id)
    said = [message_item(f"a_{response_id}", words)]
    scene.say("output_audio_buffer.started", response_id=response_id)
    scene.say("response.done", response={"id": response_id, "status": status, "output": said})


def announce(scene: Scene) -> None:
    speak(scene, "r1")
    scene.say("output_audio_buffer.stopped", response_id="r1")


def detection(scene: Scene) -> list[object]:
    """Whether the service was to answer by itself, as each of our configurations says."""
    sessions = [cast("Mapping[str, object]", event["session"]) for event in scene.sent("session.update")]
    inputs = [cast("Mapping[str, Mapping[str, object]]", session["audio"])["input"] for session in sessions]
    found = [cast("Mapping[str, object]", given["turn_detection"]) for given in inputs]
    return [(one["create_response"], one.get("interrupt_response", True)) for one in found]


def steps(scene: Scene) -> list[ConsentStep]:
    return [entry.step for entry in scene.logged(ConsentNoted)]


def answer(scene: Scene, arguments: str, call_id: str = "c1") -> None:
    scene.respond("r2", call_item(call_id, "record_consent", arguments))


@pytest.mark.parametrize("own_session", [False, True])
def test_it_is_said_before_the_greeting_while_the_service_answers_nobody(own_session: bool) -> None:
    scene = begun(own_session=own_session)
    assert words_asked_for(scene) == [WORDS]
    assert detection(scene) == [(False, False)]
    assert not scene.subject.interruptible
    speak(scene, "r1")
    assert words_asked_for(scene) == [WORDS], "it is not heard yet"
    assert steps(scene) == []
    scene.say("output_audio_buffer.stopped", response_id="r1")
    assert steps(scene) == [ConsentStep.ANNOUNCED]
    assert words_asked_for(scene) == [WORDS, "Hello."]
    assert detection(scene) == [(False, False), (True, True)]
    assert scene.subject.interruptible


def test_a_caller_who_speaks_does_not_keep_it_from_being_said_and_is_answered_afterwards() -> None:
    scene = Scene(conversation(greeting="", consent=TOLD), talking=False)
    scene.take(scene.subject.opened(scene.now))
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("session.updated")
    assert words_asked_for(scene) == [WORDS], "though the caller speaks"
    scene.accept_request("r1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    said = [message_item("a1", WORDS)]
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": said})
    scene.wait(3_000)
    assert words_asked_for(scene) == [WORDS]
    scene.say("output_audio_buffer.stopped", response_id="r1")
    scene.wait(3_000)
    assert words_asked_for(scene) == [WORDS, ""]


def test_what_the_caller_says_over_its_last_words_is_answered() -> None:
    scene = begun(greeting="")
    speak(scene, "r1")
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.say("output_audio_buffer.stopped", response_id="r1")
    scene.wait(3_000)
    assert words_asked_for(scene) == [WORDS, ""], "the service was not to answer it"


def test_commands_wait_until_it_is_heard() -> None:
    scene = Scene(conversation(consent=TOLD), talking=False)
    scene.take(scene.subject.opened(scene.now))
    scene.take(scene.subject.command(InboxEntry(entry_id="1-0", command=Say(text="Welcome.")), scene.now))
    scene.say("session.updated")
    scene.take(scene.subject.command(InboxEntry(entry_id="2-0", command=Tell(text="It rains.")), scene.now))
    scene.say("conversation.item.added", item={"id": "note_2-0", "type": "message", "role": "system"})
    scene.wait(1_000)
    assert words_asked_for(scene) == [WORDS]
    announce(scene)
    assert words_asked_for(scene) == [WORDS, "Welcome."]


@pytest.mark.parametrize("how", ["cleared", "cancelled"])
def test_where_it_is_cut_off_it_is_said_again_and_in_the_end_the_call_is_over(how: str) -> None:
    scene = begun()
    for attempt in range(1, ATTEMPTS + 1):
        assert words_asked_for(scene) == [WORDS] * attempt
        speak(scene, f"r{attempt}", status="cancelled" if how == "cancelled" else "completed")
        if how == "cleared":
            scene.say("output_audio_buffer.cleared", response_id=f"r{attempt}")
    assert [effect.reason for effect in scene.wanted(Finish)] == ["client_interfered"]
    assert [entry.code for entry in scene.logged(ErrorRecorded)] == ["not_announced"]
    assert steps(scene) == []
    assert len(scene.wanted(HangUp)) == 1


def test_a_service_that_can_not_say_it_ends_the_call() -> None:
    scene = begun()
    for attempt in range(1, 100):
        if scene.subject.phase is Phase.OVER:
            break
        scene.accept_request(f"r{attempt}")
        scene.say("response.done", response={"id": f"r{attempt}", "status": "failed", "output": []})
        scene.wait(2_000)
    assert [effect.reason for effect in scene.wanted(Finish)] == ["provider_failed"]


def test_a_response_that_we_did_not_ask_for_is_stopped() -> None:
    scene = begun()
    scene.say("response.created", response={"id": "x1"})
    assert [event["response_id"] for event in scene.sent("response.cancel")] == ["x1"]
    assert len(scene.sent("output_audio_buffer.clear")) == 1
    scene.say("response.done", response={"id": "x1", "status": "cancelled", "output": []})
    refused = {"code": "conversation_already_has_active_response"}
    scene.say("error", error={**refused, "event_id": scene.sent("response.create")[-1]["event_id"]})
    scene.say("response.created", response={"id": "x2"})
    scene.say("response.done", response={"id": "x2", "status": "cancelled", "output": []})
    speak(scene, "r1")
    scene.say("response.created", response={"id": "x3"})
    assert [event["response_id"] for event in scene.sent("response.cancel")] == ["x1", "x2", "x3"]
    assert len(scene.sent("output_audio_buffer.clear")) == 2, "that would cut the announcement off"


def test_where_nothing_tells_when_it_is_heard_time_does() -> None:
    scene = begun()
    speak(scene, "r1")
    deadline = scene.subject.next_deadline_ms()
    assert deadline is not None
    scene.wait(deadline - scene.now - 1)
    assert steps(scene) == []
    scene.wait(1)
    assert steps(scene) == [ConsentStep.ANNOUNCED]
    scene.say("output_audio_buffer.stopped", response_id="r1")
    assert steps(scene) == [ConsentStep.ANNOUNCED]


def test_the_call_can_be_ended_meanwhile() -> None:
    scene = begun()
    scene.accept_request("r1")
    ended = EndCall(reason="operator_ended", goodbye="Goodbye.")
    scene.take(scene.subject.command(InboxEntry(entry_id="1-0", command=ended), scene.now))
    scene.say("response.done", response={"id": "r1", "status": "cancelled", "output": []})
    assert words_asked_for(scene) == [WORDS, "Goodbye."]
    speak(scene, "r2", "Goodbye.")
    assert [event["response_id"] for event in scene.sent("response.cancel")] == ["r1"]
    scene.say("output_audio_buffer.stopped", response_id="r2")
    assert [effect.reason for effect in scene.wanted(Finish)] == ["operator_ended"]


# --- asked ---------------------------------------------------------------------------------------


def test_consent_that_is_given_opens_the_call() -> None:
    scene = begun(ASKED)
    announce(scene)
    assert words_asked_for(scene) == [WORDS], "the greeting waits for the answer"
    assert detection(scene)[-1] == (True, True), "but the service listens"
    answer(scene, '{"given": true}')
    assert steps(scene) == [ConsentStep.ANNOUNCED, ConsentStep.GIVEN]
    assert scene.outputs() == ["c1"]
    assert words_asked_for(scene) == [WORDS, "Hello."]
    scene.say("conversation.item.added", item={"id": "o", "type": "function_call_output", "call_id": "c1"})
    speak(scene, "r3", "Hello.")
    scene.wait(5_000)
    assert words_asked_for(scene) == [WORDS, "Hello."], "which is the reply to the answer"
    scene.respond("r4", call_item("c2", "look_up"))
    assert [run.tool_call_id for run in scene.wanted(RunInline)] == ["c2"]


def test_without_a_greeting_the_model_goes_on_by_itself() -> None:
    scene = begun(ASKED, greeting="")
    announce(scene)
    answer(scene, '{"given": true}')
    assert words_asked_for(scene) == [WORDS, ""]


def test_until_then_no_other_tool_runs() -> None:
    scene = begun(ASKED)
    announce(scene)
    scene.respond("r2", call_item("c1", "look_up"), call_item("c2", "book"), call_item("c3", "end_call"))
    assert scene.wanted(RunInline) == []
    assert scene.wanted(StartDurable) == []
    assert scene.wanted(Finish) == []
    results = scene.logged(ToolFinished)
    assert [result.status for result in results] == [ToolStatus.ERROR] * 3
    assert all('"consent_missing"' in result.output for result in results)


def test_a_refusal_ends_the_call_after_a_goodbye() -> None:
    scene = begun(ASKED, records=True)
    announce(scene)
    answer(scene, '{"given": false}')
    assert steps(scene) == [ConsentStep.ANNOUNCED, ConsentStep.REFUSED]
    assert words_asked_for(scene)[-1] == "Then goodbye."
    assert scene.wanted(Finish) == []
    speak(scene, "r3", "Then goodbye.")
    scene.say("output_audio_buffer.stopped", response_id="r3")
    assert [effect.reason for effect in scene.wanted(Finish)] == ["consent_refused"]
    assert scene.wanted(AskRecording) == []


@pytest.mark.parametrize("arguments", ["{}", "yes", '{"given": "maybe"}', "[]"])
def test_an_answer_that_is_none_changes_nothing(arguments: str) -> None:
    scene = begun(ASKED)
    announce(scene)
    answer(scene, arguments)
    assert steps(scene) == [ConsentStep.ANNOUNCED]
    assert [result.status for result in scene.logged(ToolFinished)] == [ToolStatus.INVALID]
    assert words_asked_for(scene)[-1] == "", "the model is to ask again"


def test_an_answer_before_the_question_does_not_count() -> None:
    scene = begun(ASKED)
    answer(scene, '{"given": true}')
    assert steps(scene) == []
    assert '"not_asked"' in scene.logged(ToolFinished)[0].output


def test_it_is_answered_once() -> None:
    scene = begun(ASKED)
    announce(scene)
    answer(scene, '{"given": true}')
    answer(scene, '{"given": false}', "c2")
    assert steps(scene) == [ConsentStep.ANNOUNCED, ConsentStep.GIVEN]
    assert scene.wanted(Finish) == []


# --- another owner, another connection ------------------------------------------------------------


@pytest.mark.parametrize("own_session", [False, True])
def test_the_next_owner_does_not_say_it_again(own_session: bool) -> None:
    announcement = AgentTurn(
        item_id="a1",
        response_id="r1",
        agent="desk",
        text=WORDS,
        status=TurnStatus.COMPLETED,
        first_audio_ms=-1,
        spoken_at_ms=1,
        at_ms=2,
    )
    scene = begun(resumed=True, own_session=own_session, history=[announcement, ANNOUNCED])
    if not own_session:
        scene.found_last(message_item("a1", WORDS))
    assert words_asked_for(scene) == ["Hello."], "which nobody has said yet"
    assert detection(scene) == [(True, True)]


def test_the_next_owner_waits_for_the_answer() -> None:
    scene = begun(ASKED, resumed=True, history=[ANNOUNCED])
    scene.found_last()
    scene.respond("r1", call_item("c1", "look_up"))
    assert '"consent_missing"' in scene.logged(ToolFinished)[0].output
    answer(scene, '{"given": true}', "c2")
    assert steps(scene) == [ConsentStep.GIVEN]


def test_the_next_owner_says_what_was_not_heard_to_its_end() -> None:
    scene = begun(resumed=True)
    assert words_asked_for(scene) == [], "before it is known what was missed"
    scene.found_last()
    assert words_asked_for(scene) == [WORDS]


def test_the_next_owner_ends_the_call_of_a_caller_who_refused() -> None:
    refused = ConsentNoted(step=ConsentStep.REFUSED, terms="rec", ask=True, at_ms=9)
    scene = begun(ASKED, resumed=True, history=[ANNOUNCED, refused])
    scene.wait(2_000)
    assert words_asked_for(scene) == ["Then goodbye."]
    speak(scene, "r1", "Then goodbye.")
    scene.say("output_audio_buffer.stopped", response_id="r1")
    assert [effect.reason for effect in scene.wanted(Finish)] == ["consent_refused"]


def test_a_connection_that_is_lost_meanwhile_has_it_said_again() -> None:
    scene = begun()
    scene.accept_request("r1")
    scene.subject.lost()
    begin(scene)
    scene.found_last()
    assert words_asked_for(scene) == [WORDS, WORDS]
    assert detection(scene) == [(False, False), (False, False)]
    speak(scene, "r2")
    scene.say("output_audio_buffer.stopped", response_id="r2")
    assert steps(scene) == [ConsentStep.ANNOUNCED]


def test_a_connection_that_is_lost_while_it_sounds_does_not() -> None:
    scene = begun()
    speak(scene, "r1")
    scene.subject.lost()
    begin(scene)
    scene.found_last()
    scene.wait(60_000)
    assert steps(scene) == [ConsentStep.ANNOUNCED]
    assert words_asked_for(scene) == [WORDS, "Hello."]


# --- recording --------------------------------------------------------------------------------------


def test_recording_waits_for_the_announcement_and_for_consent() -> None:
    scene = begun(ASKED, records=True)
    announce(scene)
    assert scene.wanted(AskRecording) == []
    answer(scene, '{"given": true}')
    assert len(scene.wanted(AskRecording)) == 1
    assert [entry.event for entry in scene.logged(CallEvent)] == [CallEventKind.RECORDING_ASKED]
    scene.subject.lost()
    begin(scene)
    assert len(scene.wanted(AskRecording)) == 1


def test_without_consent_to_ask_for_it_begins_at_once() -> None:
    scene = Scene(conversation(records=True))
    assert len(scene.wanted(AskRecording)) == 1


@pytest.mark.parametrize(
    ("last", "asks", "notes"),
    [
        (CallEventKind.RECORDING_ASKED, 1, 0),  # the earlier owner may have died before it was told
        (CallEventKind.RECORDING_STARTED, 0, 0),
        (CallEventKind.RECORDING_FAILED, 0, 0),
    ],
)
def test_the_next_owner_does_not_begin_another(last: CallEventKind, asks: int, notes: int) -> None:
    history = [
        CallEvent(event=CallEventKind.RECORDING_ASKED, at_ms=1),
        CallEvent(event=last, operation_id="r1", at_ms=2),
    ]
    scene = Scene(conversation(records=True, resumed=True, history=history))
    assert len(scene.wanted(AskRecording)) == asks
    assert len(scene.logged(CallEvent)) == notes


def test_nothing_is_recorded_unless_it_is_configured() -> None:
    scene = begun(records=False)
    announce(scene)
    assert scene.wanted(AskRecording) == []
