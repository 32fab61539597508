"""What is said reaches the log once, in words, with its times."""

from __future__ import annotations

from realtime_worker.conversation.effects import CountUsage, SetState
from shared.session.log import (
    AgentTurn,
    Attached,
    AudioStarted,
    ErrorRecorded,
    Interrupted,
    ResponseUsage,
    TurnStatus,
    UserTurn,
)
from shared.session.model import SessionState
from tests.unit.conversation.scene import Scene, conversation, message_item


def test_the_configuration_goes_out_first_and_its_confirmation_activates_the_session() -> None:
    scene = Scene(conversation(), talking=False)
    scene.take(scene.subject.opened(scene.now))
    assert scene.sent("session.update")[0]["event_id"] == "cfg_1"
    assert not scene.wanted(SetState)
    scene.now += 40
    scene.say("session.updated")
    assert [e.state for e in scene.wanted(SetState)] == [SessionState.ACTIVE]
    assert scene.logged(Attached)[0].took_ms == 40


def test_the_greeting_is_asked_for_word_for_word_and_only_once() -> None:
    scene = Scene(conversation(greeting="Hello there."))
    scene.say("session.updated")
    requests = scene.sent("response.create")
    assert len(requests) == 1
    assert requests[0]["response"]["instructions"] == "Say exactly: Hello there."  # type: ignore[index]


def test_a_resumed_session_is_not_greeted_again() -> None:
    scene = Scene(conversation(greeting="Hello there.", resumed=True))
    assert scene.sent("response.create") == []
    assert scene.wanted(SetState) == []


def test_a_user_turn_keeps_when_it_was_spoken_though_its_transcript_comes_late() -> None:
    scene = Scene(conversation())
    spoken_at = scene.now
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.now += 5_000
    done = {"item_id": "u1", "transcript": " my claim "}
    scene.say("conversation.item.input_audio_transcription.completed", **done)
    scene.say("conversation.item.input_audio_transcription.completed", **done)
    (turn,) = scene.logged(UserTurn)
    assert (turn.text, turn.spoken_at_ms, turn.at_ms) == ("my claim", spoken_at, spoken_at + 5_000)


def test_a_failed_transcription_is_a_turn_without_words_and_an_error() -> None:
    scene = Scene(conversation())
    scene.say(
        "conversation.item.input_audio_transcription.failed",
        item_id="u1",
        error={"code": "audio_unintelligible", "message": "no"},
    )
    assert scene.logged(UserTurn)[0].status is TurnStatus.FAILED
    assert scene.logged(ErrorRecorded)[0].code == "audio_unintelligible"


def test_typed_text_is_a_user_turn_once_though_it_is_announced_three_times() -> None:
    scene = Scene(conversation())
    item = {"id": "u1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    for kind in ("created", "added", "done"):
        scene.say(f"conversation.item.{kind}", item=item)
    assert [turn.text for turn in scene.logged(UserTurn)] == ["hi"]


def test_first_audio_is_measured_from_the_end_of_the_callers_speech() -> None:
    scene = Scene(conversation())
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.say("response.created", response={"id": "r1"})
    scene.now += 320
    scene.say("output_audio_buffer.started", response_id="r1")
    scene.now += 500
    usage = {
        "input_tokens": 100,
        "output_tokens": 20,
        "input_token_details": {"cached_tokens": 64},
    }
    response = {"id": "r1", "status": "completed", "output": [message_item("a1", "Sure.")], "usage": usage}
    scene.say("response.done", response=response)
    (turn,) = scene.logged(AgentTurn)
    assert (turn.text, turn.first_audio_ms, turn.agent) == ("Sure.", 320.0, "desk")
    (bill,) = scene.logged(ResponseUsage)
    assert (bill.input_tokens, bill.cached_tokens, bill.output_tokens, bill.duration_ms) == (
        100,
        64,
        20,
        820.0,
    )
    assert scene.wanted(CountUsage)[-1].usage.responses == 1


def test_audio_that_begins_after_its_short_response_is_done_is_measured_too() -> None:
    scene = Scene(conversation())
    scene.say("input_audio_buffer.speech_started", item_id="u1")
    scene.say("input_audio_buffer.speech_stopped", item_id="u1")
    scene.respond("r1", message_item("a1", "One moment."))
    assert scene.logged(AgentTurn)[0].first_audio_ms == -1
    scene.now += 250
    scene.say("output_audio_buffer.started", response_id="r1")
    scene.say("output_audio_buffer.started", response_id="r1")
    assert [(e.response_id, e.first_audio_ms) for e in scene.logged(AudioStarted)] == [("r1", 250.0)]


def test_a_response_that_the_caller_cut_off_is_an_interrupted_turn() -> None:
    scene = Scene(conversation())
    scene.respond("r1", message_item("a1", "Well, the"), status="cancelled")
    assert scene.logged(AgentTurn)[0].status is TurnStatus.INTERRUPTED


def test_audio_cleared_after_the_response_was_done_is_noted_once() -> None:
    scene = Scene(conversation())
    scene.respond("r1", message_item("a1", "A long answer."))
    scene.say("output_audio_buffer.cleared", response_id="r1")
    scene.say("output_audio_buffer.cleared", response_id="r1")
    assert [entry.response_id for entry in scene.logged(Interrupted)] == ["r1"]


def test_repeated_unknown_and_malformed_events_change_nothing() -> None:
    scene = Scene(conversation())
    before = len(scene.entries())
    scene.say("response.telepathy.started", event_id="e1")
    scene.say("response.done", response="not an object")
    scene.say("conversation.item.added", item=None)
    scene.say("response.output_item.done", item={"type": "function_call"})
    item = {"id": "u1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    scene.say("conversation.item.added", event_id="e2", item=item)
    scene.say("conversation.item.added", event_id="e2", item={**item, "id": "u2"})
    assert len(scene.entries()) == before + 1
