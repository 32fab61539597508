"""Keys that the caller presses reach the model as typed words; words over the agent cut it off as heard."""

from __future__ import annotations

import pytest

from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.effects import Send
from realtime_worker.conversation.keypad import LONGEST, PAUSE_MS
from shared.session.log import AgentTurn, ErrorRecorded, Interrupted, TurnStatus, UserTurn
from tests.unit.conversation.scene import Scene, conversation, message_item
from tests.unit.conversation.test_own_sessions import begun, change


def press(scene: Scene, keys: str) -> None:
    for key in keys:
        scene.say("input_audio_buffer.dtmf_event_received", event=key)


def typed(scene: Scene) -> list[str]:
    items = [event["item"] for event in scene.sent("conversation.item.create")]
    return [item["content"][0]["text"] for item in items if str(item["id"]).startswith("keys_")]  # type: ignore[index]


def test_keys_are_collected_until_a_pause_and_then_answered() -> None:
    scene = Scene(conversation())
    press(scene, "4")
    assert scene.subject.next_deadline_ms() == scene.now + PAUSE_MS
    scene.wait(PAUSE_MS - 1)
    press(scene, "2")
    scene.wait(PAUSE_MS - 1)
    assert typed(scene) == []
    assert not scene.subject.quiet
    scene.wait(1)
    assert typed(scene) == ["Keys pressed: 42"]
    assert [turn.text for turn in scene.logged(UserTurn)] == ["Keys pressed: 42"]
    assert scene.logged(UserTurn)[0].spoken_at_ms < scene.logged(UserTurn)[0].at_ms
    kinds = [e.event["type"] for e in scene.effects if isinstance(e, Send)]
    assert kinds[-2:] == ["conversation.item.create", "response.create"]


def test_a_hash_ends_them_at_once_and_so_does_their_number() -> None:
    scene = Scene(conversation())
    press(scene, "12#")
    scene.wait(0)
    assert typed(scene) == ["Keys pressed: 12#"]
    press(scene, "7" * LONGEST)
    scene.wait(0)
    assert typed(scene)[1:] == ["Keys pressed: " + "7" * LONGEST]


def test_what_telephones_do_not_have_is_no_key() -> None:
    scene = Scene(conversation())
    press(scene, "x")
    scene.say("input_audio_buffer.dtmf_event_received", event="12")
    scene.wait(PAUSE_MS)
    assert typed(scene) == []


def test_a_key_interrupts_the_agent_like_a_word() -> None:
    scene = Scene(conversation())
    scene.say("response.created", response={"id": "r1"})
    scene.say("output_audio_buffer.started", response_id="r1")
    press(scene, "12")
    assert [event["response_id"] for event in scene.sent("response.cancel")] == ["r1"]
    assert len(scene.sent("output_audio_buffer.clear")) == 1


def test_the_services_echo_and_its_refusal_of_a_second_copy_change_nothing() -> None:
    scene = Scene(conversation())
    press(scene, "#")
    scene.wait(0)
    item = scene.sent("conversation.item.create")[0]["item"]
    scene.say("conversation.item.added", item=item)
    assert len(scene.logged(UserTurn)) == 1
    press(scene, "5#")
    scene.wait(0)
    scene.say("error", error={"code": "item_create_duplicate_item_id", "event_id": "keys_1_2"})
    assert scene.logged(ErrorRecorded) == [], "a refused copy is in the conversation already"


def test_keys_that_were_pressed_while_the_connection_was_lost_are_typed_afterwards() -> None:
    scene = begun()
    scene.subject.lost()
    press(scene, "9#")
    assert typed(scene) == []
    change(scene)
    scene.wait(0)
    assert typed(scene) == ["Keys pressed: 9#"]


def test_a_lost_connection_to_a_call_gets_them_again_and_a_new_session_gets_them_with_the_rest() -> None:
    beside = Scene(conversation())
    press(beside, "3#")
    beside.wait(0)
    beside.subject.lost()
    beside.take(beside.subject.opened(beside.now))
    beside.say("session.updated")
    beside.found_last()
    assert typed(beside) == ["Keys pressed: 3#"] * 2

    own = begun()
    press(own, "3#")
    own.wait(0)
    items = change(own)
    assert typed(own) == ["Keys pressed: 3#"], "sent once, and told by the seed"
    assert [item["content"][0]["text"] for item in items] == ["Keys pressed: 3#"]  # type: ignore[index]
    assert len(own.sent("response.create")) == 2, "nobody has answered it"


@pytest.mark.parametrize("own_session", [True, False])
def test_an_interrupted_answer_is_cut_at_what_was_heard(own_session: bool) -> None:
    subject: Conversation = conversation(own_session=own_session)
    scene = Scene(subject)
    scene.say("response.created", response={"id": "r1"})
    scene.say("output_audio_buffer.started", response_id="r1")
    scene.say(
        "response.done",
        response={"id": "r1", "status": "completed", "output": [message_item("a1", "A long story.")]},
    )
    heard = [{"item_id": "a1", "content_index": 0, "audio_end_ms": 1234}]
    scene.say("output_audio_buffer.cleared", response_id="r1", heard=heard)
    (cut,) = scene.sent("conversation.item.truncate")
    assert {name: cut[name] for name in ("item_id", "content_index", "audio_end_ms")} == heard[0]
    assert [one.response_id for one in scene.logged(Interrupted)] == ["r1"]
    assert [turn.status for turn in scene.logged(AgentTurn)] == [TurnStatus.COMPLETED]
    scene.say("error", error={"code": "item_truncate_invalid_item_id", "event_id": cut["event_id"]})
    assert scene.logged(ErrorRecorded) == []


def test_what_the_service_clears_itself_needs_no_truncation() -> None:
    scene = Scene(conversation())
    scene.say("output_audio_buffer.cleared", response_id="r1")
    assert scene.sent("conversation.item.truncate") == []
