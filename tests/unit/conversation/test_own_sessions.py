"""A conversation whose provider session ends with its connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import pytest

from realtime_worker.conversation.effects import ChangeSession, Finish, HangUp, PrepareSession, RunInline
from realtime_worker.conversation.renewal import LATEST_MS, PREPARE_MS
from realtime_worker.conversation.setup import Phase
from shared.session.commands import EndCall, InboxEntry, Say, Tell
from shared.session.log import (
    AgentTurn,
    Attached,
    ErrorRecorded,
    LogEntry,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolStatus,
    TurnStatus,
    UserTurn,
)
from tests.unit.conversation.scene import Scene, call_item, conversation, message_item

HOUR_S = 3_600


def begin(scene: Scene, number: int = 1, *, ends_in_s: int = HOUR_S) -> None:
    """The service makes a session, the n-th, and confirms our configuration."""
    scene.take(scene.subject.opened(scene.now))
    session = {"id": f"sess_{number}", "expires_at": scene.now // 1000 + ends_in_s}
    scene.say("session.created", session=session)
    scene.say("session.updated", session=session)


def begun(*, greeting: str = "", resumed: bool = False, history: Iterable[LogEntry] = ()) -> Scene:
    subject = conversation(greeting=greeting, resumed=resumed, own_session=True, history=history)
    scene = Scene(subject, talking=False)
    begin(scene)
    return scene


def change(scene: Scene, number: int = 2) -> list[Mapping[str, object]]:
    """The connection is lost, another session begins; return the items that it is given."""
    scene.subject.lost()
    before = len(scene.sent("conversation.item.create"))
    begin(scene, number)
    return [cast("Mapping[str, object]", e["item"]) for e in scene.sent("conversation.item.create")[before:]]


def hear(scene: Scene, words: str, item_id: str = "u1") -> None:
    """The caller says something, and it is transcribed at once."""
    scene.say("input_audio_buffer.speech_started", item_id=item_id)
    scene.now += 500
    scene.say("input_audio_buffer.speech_stopped", item_id=item_id)
    scene.say("conversation.item.input_audio_transcription.completed", item_id=item_id, transcript=words)


def answer(scene: Scene, words: str, response_id: str = "r1") -> None:
    scene.say("response.created", response={"id": response_id})
    scene.say("response.output_audio.delta", response_id=response_id, delta="AAAA")
    scene.now += 500
    done = {"id": response_id, "status": "completed", "output": [message_item(f"a_{response_id}", words)]}
    scene.say("response.done", response=done)
    scene.now += 500


def finish(scene: Scene, call_id: str) -> None:
    scene.take(scene.subject.tool_finished(call_id, ToolStatus.OK, '{"ok":true}', 1.0, scene.now))


def user_turn(text: str, at_ms: int) -> UserTurn:
    return UserTurn(
        item_id=f"u{at_ms}", text=text, status=TurnStatus.COMPLETED, spoken_at_ms=at_ms, at_ms=at_ms
    )


def tool_call(call_id: str, name: str) -> ToolCalled:
    return ToolCalled(
        tool_call_id=call_id,
        name=name,
        arguments="{}",
        execution=ToolExecution.INLINE,
        response_id="r0",
        at_ms=20,
    )


def test_the_configuration_waits_for_the_session_and_the_log_names_it() -> None:
    scene = Scene(conversation(greeting="Hello.", own_session=True), talking=False)
    scene.take(scene.subject.opened(scene.now))
    assert scene.effects == []
    scene.say("session.created", session={"id": "sess_1"})
    assert len(scene.sent("session.update")) == 1
    scene.say("session.updated", session={"id": "sess_1"})
    assert scene.logged(Attached)[0].call_id == "sess_1"
    assert len(scene.sent("response.create")) == 1
    assert scene.sent("conversation.item.create") == []


def test_the_next_session_is_told_everything_and_does_not_greet() -> None:
    scene = begun(greeting="Hello.")
    scene.accept_request("r0")
    answer(scene, "Hello.", "r0")
    hear(scene, "My name is Ann.")
    answer(scene, "Hello Ann.")
    asked = len(scene.sent("response.create"))
    items = change(scene)
    texts = [cast("list[dict[str, object]]", item["content"])[0]["text"] for item in items]
    assert texts == ["Hello.", "My name is Ann.", "Hello Ann."]
    scene.wait(60_000)
    assert len(scene.sent("response.create")) == asked
    assert [entry.call_id for entry in scene.logged(Attached)] == ["sess_1", "sess_2"]


def test_what_the_service_says_of_our_items_is_not_recorded_again() -> None:
    scene = begun()
    hear(scene, "My name is Ann.")
    answer(scene, "Hello Ann.")
    items = change(scene)
    turns = len(scene.logged(UserTurn))
    for item in items:
        scene.say("conversation.item.added", item=item, previous_item_id="root")
    assert len(scene.logged(UserTurn)) == turns


def test_a_turn_without_an_answer_gets_one() -> None:
    scene = begun()
    hear(scene, "Where is my parcel?")
    scene.say("response.created", response={"id": "r1"})
    scene.say("response.output_audio.delta", response_id="r1", delta="AAAA")
    change(scene)
    assert len(scene.sent("response.create")) == 1


@pytest.mark.parametrize("answering", [False, True])
def test_words_whose_transcript_will_never_come_are_recorded_as_lost_and_asked_for(
    *, answering: bool
) -> None:
    scene = begun()
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    if answering:
        scene.say("response.created", response={"id": "r1"})
        scene.say("response.output_audio.delta", response_id="r1", delta="AAAA")
    items = change(scene)
    (turn,) = scene.logged(UserTurn)
    assert (turn.item_id, turn.text, turn.status) == ("u1", "", TurnStatus.FAILED)
    assert [item["role"] for item in items] == ["user"]
    assert len(scene.sent("response.create")) == 1
    assert change(scene, 3) == [*items]
    assert len(scene.logged(UserTurn)) == 1


def test_words_that_were_answered_before_their_transcript_came_are_not_asked_for() -> None:
    scene = begun()
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    answer(scene, "Yes.")
    change(scene)
    assert scene.logged(UserTurn) == []
    assert scene.sent("response.create") == []


def test_what_we_were_saying_is_said_again() -> None:
    scene = begun()
    hear(scene, "Hi.")
    answer(scene, "Hello.")
    command = InboxEntry(entry_id="1-0", command=Say(text="One more thing."))
    scene.take(scene.subject.command(command, scene.now))
    scene.accept_request("r2")
    change(scene)
    wanted = [cast("dict[str, object]", e["response"])["instructions"] for e in scene.sent("response.create")]
    assert wanted == ["Say exactly: One more thing."] * 2


def test_a_call_that_runs_is_told_and_answered_when_it_is_done() -> None:
    scene = begun()
    hear(scene, "Look it up.")
    scene.respond("r1", call_item("c1"))
    items = change(scene)
    assert [item["type"] for item in items] == ["message", "function_call"]
    assert scene.sent("response.create") == []
    finish(scene, "c1")
    assert scene.outputs() == ["c1"]
    assert len(scene.sent("response.create")) == 1
    assert len(scene.wanted(RunInline)) == 1


def test_a_call_that_finishes_between_two_sessions_has_one_output_in_the_second() -> None:
    scene = begun()
    hear(scene, "Look it up.")
    scene.respond("r1", call_item("c1"))
    scene.subject.lost()
    finish(scene, "c1")
    assert scene.outputs() == []
    begin(scene, 2)
    assert scene.outputs() == ["c1"]
    assert len(scene.sent("response.create")) == 1


def test_an_output_that_nobody_has_spoken_about_is_spoken_about() -> None:
    scene = begun()
    scene.respond("r1", call_item("c1"))
    finish(scene, "c1")
    scene.accept_request("r2")
    items = change(scene)
    assert [item["type"] for item in items] == ["function_call", "function_call_output"]
    assert len(scene.sent("response.create")) == 2


def test_items_go_before_the_reply_and_after_the_record_of_the_session() -> None:
    scene = begun()
    hear(scene, "Where is my parcel?")
    scene.subject.lost()
    seen = len(scene.effects)
    begin(scene, 2)
    sent = [e for e in scene.effects[seen:] if getattr(e, "after_commit", False)]
    kinds = [e.event["type"] for e in sent]  # type: ignore[union-attr]
    assert kinds == ["conversation.item.create", "response.create"]


def test_a_new_owner_goes_on_from_the_log() -> None:
    history = [user_turn("Look it up.", 10), tool_call("c1", "look_up"), tool_call("c2", "pay")]
    subject = conversation(
        greeting="Hello.", resumed=True, own_session=True, history=history, unanswered=history[1:]
    )
    scene = Scene(subject, talking=False)
    begin(scene)
    items = [cast("dict[str, object]", event["item"]) for event in scene.sent("conversation.item.create")]
    kinds = [item["type"] for item in items]
    assert kinds == ["message", "function_call", "function_call", "function_call_output"]
    assert scene.logged(ToolFinished)[0].status is ToolStatus.UNKNOWN
    assert [effect.tool_call_id for effect in scene.wanted(RunInline)] == ["c1"]
    finish(scene, "c1")
    assert scene.outputs() == ["c2", "c1"]
    assert len(scene.sent("response.create")) == 1


def test_a_new_owner_greets_where_nobody_has_said_anything_yet() -> None:
    scene = begun(greeting="Hello.", resumed=True)
    assert len(scene.sent("response.create")) == 1
    scene = begun(greeting="Hello.", resumed=True, history=[user_turn("Hello?", 1)])
    (request,) = scene.sent("response.create")
    assert "instructions" not in cast("dict[str, object]", request["response"])


def test_expiry_is_no_end() -> None:
    scene = begun()
    scene.say("error", error={"code": "session_expired", "message": "60 minutes"})
    assert scene.wanted(ChangeSession) != []
    assert scene.logged(ErrorRecorded)[0].code == "session_expired"
    assert scene.wanted(Finish) == []


def test_a_session_is_renewed_when_nobody_speaks() -> None:
    scene = begun()
    scene.wait((HOUR_S * 1000) - PREPARE_MS)
    assert len(scene.wanted(PrepareSession)) == 1
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.take(scene.subject.prepared(scene.now, succeeded=True))
    scene.wait(1_000)
    assert scene.wanted(ChangeSession) == []
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.wait(250)
    scene.say("response.created", response={"id": "r1"})
    scene.wait(250)
    assert scene.wanted(ChangeSession) == []
    done = {"id": "r1", "status": "completed", "output": [call_item("c1")]}
    scene.say("response.done", response=done)
    scene.wait(250)
    assert scene.wanted(ChangeSession) == [], "a tool runs"
    finish(scene, "c1")
    scene.accept_request("r2")
    answer(scene, "Done.", "r2")
    assert scene.subject.next_deadline_ms() is not None
    scene.wait(250)
    assert len(scene.wanted(ChangeSession)) == 1
    change(scene)
    assert scene.subject.phase is Phase.TALKING
    assert scene.logged(AgentTurn)[-1].text == "Done."


def test_a_session_is_renewed_at_the_latest_shortly_before_its_end() -> None:
    scene = begun()
    scene.wait(HOUR_S * 1000 - PREPARE_MS)
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.take(scene.subject.prepared(scene.now, succeeded=True))
    scene.wait(PREPARE_MS - LATEST_MS - 1_000)
    assert scene.wanted(ChangeSession) == []
    scene.wait(1_000)
    assert len(scene.wanted(ChangeSession)) == 1


def test_a_call_whose_media_flows_elsewhere_is_never_renewed() -> None:
    scene = Scene(conversation())
    scene.wait(HOUR_S * 1000)
    assert scene.take(scene.subject.prepared(scene.now, succeeded=True)) == []
    assert scene.wanted(PrepareSession) == []


def test_a_goodbye_that_was_cut_off_is_said_in_the_next_session() -> None:
    scene = begun()
    command = EndCall(reason="operator_ended", goodbye="Goodbye.")
    scene.take(scene.subject.command(InboxEntry(entry_id="9-0", command=command), scene.now))
    scene.accept_request("r1")
    change(scene)
    assert scene.subject.phase is Phase.LEAVING
    scene.accept_request("r2")
    scene.say("response.done", response={"id": "r2", "status": "completed", "output": []})
    kinds = [type(effect) for effect in scene.effects[-2:]]
    assert kinds == [HangUp, Finish]


@pytest.mark.parametrize("respond", [True, False])
def test_what_the_model_was_told_is_told_to_the_next_session(respond: bool) -> None:
    scene = begun()
    hear(scene, "Is Ann there?")
    answer(scene, "I will see.")
    tell = Tell(text="Ann has joined the call.", respond=respond)
    scene.take(scene.subject.command(InboxEntry(entry_id="1-0", command=tell), scene.now))
    note = {"id": "note_1-0", "type": "message", "role": "system"}
    scene.say("conversation.item.added", item=note)
    requests = len(scene.sent("response.create"))
    items = change(scene)
    assert [
        (item["role"], cast("list[dict[str, object]]", item["content"])[0]["text"]) for item in items
    ] == [
        ("user", "Is Ann there?"),
        ("assistant", "I will see."),
        ("system", "Ann has joined the call."),
    ]
    asked_again = len(scene.sent("response.create")) - requests
    assert asked_again == (1 if respond else 0), "the reply was lost with the session"


def test_what_the_model_has_spoken_about_is_told_without_asking_again() -> None:
    scene = begun()
    tell = Tell(text="The transfer failed.")
    scene.take(scene.subject.command(InboxEntry(entry_id="1-0", command=tell), scene.now))
    scene.say("conversation.item.added", item={"id": "note_1-0", "type": "message", "role": "system"})
    scene.now += 100
    scene.accept_request("r1")
    scene.say("response.output_audio.delta", response_id="r1", delta="AAAA")
    said = message_item("a1", "Nobody answers there.")
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": [said]})
    requests = len(scene.sent("response.create"))
    items = change(scene)
    assert [item["role"] for item in items] == ["system", "assistant"]
    assert len(scene.sent("response.create")) == requests
