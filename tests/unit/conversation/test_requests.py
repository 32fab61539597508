"""One response at a time, and nothing that was wanted is forgotten."""

from __future__ import annotations

from realtime_worker.conversation.responses import BUSY_DELAYS_MS
from shared.session.commands import InboxEntry, Say
from shared.session.log import ErrorRecorded, ToolStatus
from tests.unit.conversation.scene import Scene, call_item, conversation


def say(scene: Scene, words: str, entry_id: str = "1-0") -> None:
    scene.take(scene.subject.command(InboxEntry(entry_id=entry_id, command=Say(text=words)), scene.now))


def instructions(scene: Scene) -> list[object]:
    return [event["response"].get("instructions") for event in scene.sent("response.create")]  # type: ignore[union-attr]


def test_two_wishes_are_asked_for_one_after_the_other() -> None:
    scene = Scene(conversation())
    say(scene, "one", "1-0")
    say(scene, "two", "2-0")
    assert instructions(scene) == ["Say exactly: one"]
    scene.accept_request("r1")
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": []})
    assert instructions(scene) == ["Say exactly: one", "Say exactly: two"]


def test_a_refused_request_is_repeated_when_the_active_response_is_done() -> None:
    scene = Scene(conversation())
    say(scene, "one")
    request = scene.sent("response.create")[0]
    scene.say("response.created", response={"id": "server"})
    busy = {"code": "conversation_already_has_active_response", "event_id": request["event_id"]}
    scene.say("error", error=busy)
    assert len(scene.sent("response.create")) == 1
    scene.say("response.done", response={"id": "server", "status": "completed", "output": []})
    assert instructions(scene) == ["Say exactly: one"] * 2
    assert scene.logged(ErrorRecorded) == []


def refuse(scene: Scene) -> None:
    request = scene.sent("response.create")[-1]
    busy = {"code": "conversation_already_has_active_response", "event_id": request["event_id"]}
    scene.say("error", error=busy)


def test_a_response_that_nobody_saw_begin_is_waited_out_ever_longer() -> None:
    scene = Scene(conversation())
    say(scene, "one")
    for asked, delay_ms in enumerate((*BUSY_DELAYS_MS, BUSY_DELAYS_MS[-1]), 1):
        refuse(scene)
        assert scene.subject.next_deadline_ms() == scene.now + delay_ms
        scene.wait(delay_ms - 1)
        assert len(scene.sent("response.create")) == asked
        scene.wait(1)
        assert instructions(scene) == ["Say exactly: one"] * (asked + 1)
    assert scene.logged(ErrorRecorded) == []


def test_when_a_response_that_nobody_saw_begin_is_over_it_is_asked_at_once() -> None:
    scene = Scene(conversation())
    say(scene, "one")
    refuse(scene)
    scene.say("response.done", response={"id": "unseen", "status": "completed", "output": []})
    assert instructions(scene) == ["Say exactly: one"] * 2
    refuse(scene)
    assert scene.subject.next_deadline_ms() == scene.now + BUSY_DELAYS_MS[0]


def test_nothing_is_asked_while_the_caller_speaks_nor_before_the_service_had_its_chance() -> None:
    scene = Scene(conversation())
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    say(scene, "one")
    assert scene.subject.next_deadline_ms() is None
    scene.wait(30_000)
    assert scene.sent("response.create") == []
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    assert scene.sent("response.create") == []
    assert scene.subject.next_deadline_ms() == scene.now + 2_000
    scene.wait(2_000)
    assert instructions(scene) == ["Say exactly: one"]


def test_a_failed_response_is_asked_for_again_a_few_times() -> None:
    scene = Scene(conversation())
    scene.respond("r0", call_item("c1"))
    scene.take(scene.subject.tool_finished("c1", ToolStatus.OK, "{}", 1, scene.now))
    limit = {"type": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow down"}}
    for attempt in range(1, 6):
        if len(scene.sent("response.create")) < attempt:
            break
        scene.accept_request(f"r{attempt}")
        failed = {"id": f"r{attempt}", "status": "failed", "status_details": limit, "output": []}
        scene.say("response.done", response=failed)
        scene.wait(5_000)
    assert len(scene.sent("response.create")) == 4
    assert {entry.code for entry in scene.logged(ErrorRecorded)} == {"rate_limit_exceeded"}


def test_a_request_without_any_reaction_is_repeated() -> None:
    scene = Scene(conversation())
    say(scene, "one")
    deadline = scene.subject.next_deadline_ms()
    assert deadline is not None
    scene.wait(deadline - scene.now)
    assert instructions(scene) == ["Say exactly: one"] * 2


def test_a_request_refused_for_another_reason_is_recorded_and_not_repeated() -> None:
    scene = Scene(conversation())
    say(scene, "one")
    event_id = scene.sent("response.create")[0]["event_id"]
    scene.say("error", error={"code": "invalid_value", "message": "no", "event_id": event_id})
    scene.wait(60_000)
    assert len(scene.sent("response.create")) == 1
    assert scene.logged(ErrorRecorded)[0].code == "invalid_value"


def test_what_was_wanted_survives_a_lost_connection() -> None:
    scene = Scene(conversation())
    say(scene, "one")
    scene.accept_request("r1")
    scene.subject.lost()
    say(scene, "two", "2-0")
    assert len(scene.sent("response.create")) == 1
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.updated")
    scene.found_last()
    assert instructions(scene)[-1] == "Say exactly: two"


def test_a_reply_that_waited_behind_another_when_the_connection_was_lost_is_asked_for() -> None:
    scene = Scene(conversation())
    scene.respond("r0", call_item("c1"), call_item("c2", "book"))
    scene.take(scene.subject.tool_finished("c1", ToolStatus.OK, "{}", 1, scene.now))
    scene.say("conversation.item.added", item={"type": "function_call_output", "call_id": "c1"})
    scene.accept_request("r1")
    scene.take(scene.subject.tool_finished("c2", ToolStatus.OK, "{}", 1, scene.now))
    scene.say("conversation.item.added", item={"type": "function_call_output", "call_id": "c2"})
    assert len(scene.sent("response.create")) == 1
    scene.subject.lost()
    scene.take(scene.subject.opened(scene.now))
    scene.say("session.updated")
    scene.found_last()
    assert len(scene.sent("response.create")) == 2


def test_a_caller_who_spoke_into_our_words_is_answered_after_them() -> None:
    scene = Scene(conversation())
    say(scene, "one")
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.accept_request("r1")
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": []})
    assert instructions(scene) == ["Say exactly: one", None]


def test_a_caller_who_was_answered_by_the_service_is_not_answered_twice() -> None:
    scene = Scene(conversation())
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.respond("r1")
    say(scene, "one")
    scene.accept_request("r2")
    scene.say("response.done", response={"id": "r2", "status": "completed", "output": []})
    assert instructions(scene) == ["Say exactly: one"]


def test_a_caller_who_began_to_speak_as_we_asked_for_a_reply_is_answered_after_it() -> None:
    scene = Scene(conversation())
    scene.respond("r0", call_item("c1"))
    scene.take(scene.subject.tool_finished("c1", ToolStatus.OK, "{}", 1, scene.now))
    scene.say("conversation.item.added", item={"type": "function_call_output", "call_id": "c1"})
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.accept_request("r1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": []})
    scene.wait(700)
    assert len(scene.sent("response.create")) == 2
    scene.accept_request("r2")
    scene.say("response.done", response={"id": "r2", "status": "completed", "output": []})
    scene.wait(5_000)
    assert len(scene.sent("response.create")) == 2


def test_a_caller_whom_the_service_answers_after_such_a_reply_is_not_answered_twice() -> None:
    scene = Scene(conversation())
    scene.respond("r0", call_item("c1"))
    scene.take(scene.subject.tool_finished("c1", ToolStatus.OK, "{}", 1, scene.now))
    scene.say("conversation.item.added", item={"type": "function_call_output", "call_id": "c1"})
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.accept_request("r1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.say("response.done", response={"id": "r1", "status": "completed", "output": []})
    scene.respond("r2")
    scene.wait(5_000)
    assert len(scene.sent("response.create")) == 1
