"""A command stays in the inbox until it has taken effect, so that no owner's death loses it."""

from __future__ import annotations

from realtime_worker.conversation.effects import ConsumeInbox, Effect, Finish
from shared.session.commands import Command, EndCall, InboxEntry, Say, Tell, ToolResult
from shared.session.log import CommandReceived, ToolStatus
from tests.unit.conversation.scene import Scene, call_item, conversation, message_item

RESULT = ToolResult(tool_call_id="c1", status=ToolStatus.OK, output='{"day":"friday"}', duration_ms=1.0)


def command(scene: Scene, entry_id: str, what: Command) -> list[Effect]:
    entry = InboxEntry(entry_id=entry_id, command=what, traceparent="")
    return scene.take(scene.subject.command(entry, scene.now))


def cursors(scene: Scene) -> list[str]:
    return [effect.entry_id for effect in scene.wanted(ConsumeInbox)]


def spoken(scene: Scene, response_id: str, status: str = "completed") -> None:
    scene.accept_request(response_id)
    done = {"id": response_id, "status": status, "output": [message_item(f"i_{response_id}", "Words.")]}
    scene.say("response.done", response=done)


def test_words_are_consumed_when_they_have_been_said() -> None:
    scene = Scene(conversation())
    command(scene, "1-0", Say(text="One moment."))
    assert cursors(scene) == []
    spoken(scene, "r1")
    assert cursors(scene) == ["1-0"]
    assert [entry.command for entry in scene.logged(CommandReceived)] == ["say"]


def test_words_that_the_caller_cut_short_were_said() -> None:
    scene = Scene(conversation())
    command(scene, "1-0", Say(text="One moment."))
    spoken(scene, "r1", status="cancelled")
    assert cursors(scene) == ["1-0"]


def test_words_whose_response_failed_are_tried_again_and_given_up_in_the_end() -> None:
    scene = Scene(conversation())
    command(scene, "1-0", Say(text="One moment."))
    for attempt in range(4):
        assert cursors(scene) == []
        spoken(scene, f"r{attempt}", status="failed")
        scene.wait(5_000)
    assert cursors(scene) == ["1-0"]


def test_a_result_behind_unsaid_words_is_sent_and_stays_in_the_inbox_with_them() -> None:
    scene = Scene(conversation())
    scene.respond("r1", call_item("c1", "book"))
    command(scene, "1-0", Say(text="One moment."))
    command(scene, "2-0", RESULT)
    assert scene.outputs() == ["c1"]
    assert cursors(scene) == []
    spoken(scene, "r2")
    assert cursors(scene) == ["2-0"]


def test_a_result_that_the_next_owner_reads_again_does_nothing() -> None:
    scene = Scene(conversation(resumed=True, answered={"c1": RESULT.output}))
    scene.found_last()
    already_sent = scene.outputs()
    command(scene, "1-0", Say(text="One moment."))
    command(scene, "2-0", RESULT)
    assert scene.outputs() == already_sent
    spoken(scene, "r1")
    assert cursors(scene) == ["2-0"]


def test_an_end_is_asked_for_until_the_call_has_ended() -> None:
    scene = Scene(conversation())
    command(scene, "1-0", Say(text="Before."))
    command(scene, "2-0", EndCall(reason="operator_ended", goodbye="Goodbye."))
    assert cursors(scene) == []
    assert scene.logged(CommandReceived) == []
    next_owner = Scene(conversation(resumed=True))
    command(next_owner, "1-0", Say(text="Before."))
    command(next_owner, "2-0", EndCall(reason="operator_ended", goodbye="Goodbye."))
    next_owner.wait(15_000)
    assert [effect.reason for effect in next_owner.wanted(Finish)] == ["operator_ended"]
    assert [(entry.command, entry.detail) for entry in next_owner.logged(CommandReceived)] == [
        ("end_call", "operator_ended")
    ]


TOLD = Tell(text="The transfer to billing failed: nobody picked up.")


def notes(scene: Scene) -> list[str]:
    items = [event["item"] for event in scene.sent("conversation.item.create")]
    return [item["id"] for item in items if item["id"].startswith("note_")]  # type: ignore[index]


def test_what_happened_outside_is_told_as_a_system_item_and_spoken_about() -> None:
    scene = Scene(conversation())
    command(scene, "1-0", TOLD)
    (created,) = scene.sent("conversation.item.create")
    item: dict[str, object] = created["item"]  # type: ignore[assignment]
    assert (item["role"], item["content"]) == ("system", [{"type": "input_text", "text": TOLD.text}])
    assert cursors(scene) == [], "it is not known whether the service took it"
    assert not scene.sent("response.create")
    scene.say("conversation.item.added", item=item)
    assert cursors(scene) == ["1-0"]
    assert len(scene.sent("response.create")) == 1
    assert [entry.command for entry in scene.logged(CommandReceived)] == ["tell"]
    scene.say("conversation.item.done", item=item)
    assert cursors(scene) == ["1-0"]


def test_what_needs_no_reaction_gets_none() -> None:
    scene = Scene(conversation())
    command(scene, "1-0", Tell(text="Ann from billing is in the call, too.", respond=False))
    scene.say("conversation.item.added", item=scene.sent("conversation.item.create")[0]["item"])
    assert cursors(scene) == ["1-0"]
    assert not scene.sent("response.create")


def test_what_was_told_into_a_connection_that_was_lost_is_told_again_and_a_copy_is_refused() -> None:
    scene = Scene(conversation())
    command(scene, "1-0", TOLD)
    scene.subject.lost()
    command(scene, "2-0", Tell(text="Another thing.", respond=False))
    assert notes(scene) == ["note_1-0"], "nothing is sent before the session is configured"
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.updated")
    command(scene, "3-0", Tell(text="A third one.", respond=False))
    assert notes(scene) == ["note_1-0"], "nor before it is known what was missed"
    scene.wait(2_000)
    assert notes(scene) == ["note_1-0", "note_1-0", "note_2-0", "note_3-0"]
    refusal = {"type": "invalid_request_error", "code": "item_exists", "event_id": "note_1-0"}
    scene.say("error", error=refusal)
    for item_id in ("note_2-0", "note_3-0"):
        scene.say("conversation.item.added", item={"id": item_id, "type": "message", "role": "system"})
    assert cursors(scene) == ["1-0", "2-0", "3-0"]


def test_a_command_that_is_read_twice_is_told_once() -> None:
    scene = Scene(conversation())
    command(scene, "1-0", TOLD)
    command(scene, "1-0", TOLD)
    assert notes(scene) == ["note_1-0"]
