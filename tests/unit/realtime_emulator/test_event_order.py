"""The order of events in a session, without sockets."""

from __future__ import annotations

import base64

from emulators.realtime.session.effects import (
    ArmIdleTimer,
    ClearPlayback,
    DisarmIdleTimer,
    EndSession,
    StopThinking,
    Think,
)
from tests.unit.realtime_emulator.session_driver import (
    answer,
    events,
    new_core,
    send,
    thinking,
    types,
    user_says,
)

ANSWER_EVENTS = [
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
    "rate_limits.updated",
]


def test_a_spoken_turn_and_its_answer_come_in_the_documented_order() -> None:
    core = new_core()
    heard = user_says(core, "Hello there.")
    assert types(heard) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
    ]
    assert types(answer(core, thinking(heard), "Hi, good morning.")) == ANSWER_EVENTS


def test_every_event_but_dtmf_has_an_id_of_its_own() -> None:
    core = new_core("sip")
    heard = user_says(core, "Hello.")
    told = [*events(heard), *events(answer(core, thinking(heard), "Hi."))]
    ids = [event["event_id"] for event in told]
    assert len(set(ids)) == len(ids)
    (pressed,) = events(core.dtmf("5", 1_790_000_000))
    assert pressed == {
        "type": "input_audio_buffer.dtmf_event_received",
        "event": "5",
        "received_at": 1_790_000_000,
    }


def test_the_mind_waits_until_the_turn_is_understood() -> None:
    core = new_core()
    effects = [*core.speech_started(0), *core.speech_stopped(900)]
    assert not [effect for effect in effects if isinstance(effect, Think)]
    item_id = str(next(e["item_id"] for e in events(effects) if "item_id" in e))
    response_id = thinking(core.heard(item_id, "what now"))
    turn = core.turn(response_id)
    assert turn is not None
    assert [item.text for item in turn.items] == ["what now"]


def test_a_response_that_began_while_the_caller_spoke_knows_nothing_of_their_words() -> None:
    core = new_core()
    core.speech_started(1000)
    response_id = thinking(send(core, "response.create"))
    stopped = core.speech_stopped(1800)
    assert "response.created" not in types(stopped)
    turn = core.turn(response_id)
    assert turn is not None
    assert turn.items == ()
    assert [item["type"] for item in core.items()] == ["message"]


def test_a_tool_call_streams_its_arguments_and_ends_the_response() -> None:
    core = new_core()
    response_id = thinking(user_says(core, "claim 1234"))
    arguments = '{"number": "1234", "reason": "because"}'
    told = events(core.called(response_id, "get_claim", arguments)) + events(core.finished(response_id))
    kinds = [event["type"] for event in told]
    deltas = [str(e["delta"]) for e in told if e["type"] == "response.function_call_arguments.delta"]
    assert len(deltas) > 2
    assert "".join(deltas) == arguments
    after = kinds[kinds.index("response.function_call_arguments.done") :]
    assert after == [
        "response.function_call_arguments.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "rate_limits.updated",
    ]
    done = next(event for event in told if event["type"] == "response.function_call_arguments.done")
    created = send(
        core,
        "conversation.item.create",
        item={"type": "function_call_output", "call_id": done["call_id"], "output": "{}"},
    )
    assert types(created) == ["conversation.item.added", "conversation.item.done"]


def test_speech_interrupts_the_answer_and_cuts_it_to_what_was_heard() -> None:
    core = new_core()
    response_id = thinking(user_says(core, "hello"))
    _, _ = core.said(response_id, "This is a rather long answer to it.")
    core.spoke(response_id, 2000, None)
    core.playback_started(response_id)
    effects = core.speech_started(5000, played_ms=500)
    assert types(effects) == [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "rate_limits.updated",
        "output_audio_buffer.cleared",
        "conversation.item.truncated",
    ]
    assert StopThinking(response_id=response_id) in effects
    assert ClearPlayback() in effects
    done = next(event for event in events(effects) if event["type"] == "response.done")
    response = done["response"]
    assert isinstance(response, dict)
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"
    assert events(effects)[-1]["audio_end_ms"] == 500
    item_id = str(events(effects)[-1]["item_id"])
    shown = events(send(core, "conversation.item.retrieve", item_id=item_id))[0]["item"]
    assert isinstance(shown, dict)
    assert shown["content"][0]["transcript"] == "This is"


def test_speech_after_the_response_clears_only_the_playback() -> None:
    core = new_core()
    response_id = thinking(user_says(core, "hello"))
    answer(core, response_id, "A long answer.", audio_ms=3000)
    core.playback_started(response_id)
    assert types(core.speech_started(9000, played_ms=1000)) == [
        "input_audio_buffer.speech_started",
        "output_audio_buffer.cleared",
        "conversation.item.truncated",
    ]


def test_on_a_plain_websocket_the_client_owns_the_playback() -> None:
    core = new_core("websocket")
    response_id = thinking(user_says(core, "hello"))
    _, effects = core.said(response_id, "An answer.")
    audio = core.spoke(response_id, 100, b"\1\0" * 2400)
    (delta,) = events(audio)
    assert delta["type"] == "response.output_audio.delta"
    assert base64.b64decode(str(delta["delta"])) == b"\1\0" * 2400
    interrupted = types(core.speech_started(5000, played_ms=0))
    assert "response.done" in interrupted
    assert not [kind for kind in interrupted if kind.startswith("output_audio_buffer")]
    item_id = str(events(effects)[0]["item"]["id"])  # type: ignore[index]
    cut = send(core, "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=50)
    assert types(cut) == ["conversation.item.truncated"]


def test_without_interrupt_response_the_answer_goes_on() -> None:
    core = new_core()
    detection = {"type": "server_vad", "interrupt_response": False}
    send(
        core,
        "session.update",
        session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}},
    )
    response_id = thinking(user_says(core, "hello"))
    assert types(core.speech_started(3000)) == ["input_audio_buffer.speech_started"]
    assert "response.created" not in types(core.speech_stopped(4000))
    assert types(answer(core, response_id, "Yes."))[-2] == "response.done"


def test_without_turn_detection_the_client_commits_and_asks() -> None:
    core = new_core("websocket")
    send(core, "session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    assert core.speech_started(100) == []
    half_second = base64.b64encode(bytes(24_000)).decode()
    send(core, "input_audio_buffer.append", audio=half_second)
    committed = send(core, "input_audio_buffer.commit")
    assert types(committed) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    asked = send(core, "response.create")
    assert types(asked) == ["response.created"]
    assert not [effect for effect in asked if isinstance(effect, Think)], "the turn is not understood yet"
    item_id = str(events(committed)[0]["item_id"])
    thinking(core.heard(item_id, "two plus two"))


def test_a_text_response_has_text_events() -> None:
    core = new_core()
    asked = send(core, "response.create", response={"output_modalities": ["text"]})
    aloud, said = core.said(thinking(asked), "Just text.")
    assert aloud == ""
    assert types(said)[-1] == "response.output_text.delta"
    finished = types(core.finished(thinking(asked)))
    assert finished[:2] == ["response.output_text.done", "response.content_part.done"]


def test_an_out_of_band_response_runs_beside_the_conversation() -> None:
    core = new_core()
    first = thinking(send(core, "response.create"))
    beside = send(
        core,
        "response.create",
        response={
            "conversation": "none",
            "metadata": {"purpose": "summary"},
            "output_modalities": ["text"],
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}],
        },
    )
    second = thinking(beside)
    created = events(beside)[0]["response"]
    assert isinstance(created, dict)
    assert created["metadata"] == {"purpose": "summary"}
    assert created["conversation_id"] is None
    turn = core.turn(second)
    assert turn is not None
    assert [item.text for item in turn.items] == ["x"]
    assert "conversation.item.added" not in types(core.said(second, "A summary.")[1])
    core.finished(second)
    assert core.responses.active_id == first


def test_the_token_limit_leaves_a_response_incomplete() -> None:
    core = new_core()
    response_id = thinking(send(core, "response.create", response={"max_output_tokens": 3}))
    aloud, _ = core.said(response_id, "One two three four five six.")
    assert aloud == "One two thre"
    done = next(e for e in events(core.finished(response_id)) if e["type"] == "response.done")
    assert done["response"]["status_details"] == {  # type: ignore[index]
        "type": "incomplete",
        "reason": "max_output_tokens",
    }


def test_a_failed_response_tells_the_error() -> None:
    core = new_core()
    response_id = thinking(send(core, "response.create"))
    effects = core.failed(response_id, kind="rate_limit_error", code="rate_limit_exceeded", message="Slow.")
    response = events(effects)[0]["response"]
    assert isinstance(response, dict)
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "rate_limit_exceeded"


def test_silence_after_an_answer_triggers_the_idle_timeout() -> None:
    core = new_core()
    detection = {"type": "server_vad", "idle_timeout_ms": 6000}
    send(
        core,
        "session.update",
        session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}},
    )
    response_id = thinking(user_says(core, "hello"))
    effects = answer(core, response_id, "Hi.")
    assert not [effect for effect in effects if isinstance(effect, ArmIdleTimer)], "the caller still listens"
    core.playback_started(response_id)
    assert ArmIdleTimer(milliseconds=6000) in core.playback_stopped(response_id)
    fired = core.idle_timed_out(20_000)
    assert types(fired)[0] == "input_audio_buffer.timeout_triggered"
    assert types(fired)[-1] == "response.created"
    core.finished(thinking(fired))
    assert DisarmIdleTimer() in core.speech_started(21_000)


def test_expiry_ends_the_session_with_its_error() -> None:
    effects = new_core().expired(60)
    assert events(effects)[0]["error"]["code"] == "session_expired"  # type: ignore[index]
    assert isinstance(effects[-1], EndSession)


def test_mcp_servers_are_told_to_be_unreachable() -> None:
    core = new_core()
    tool = {"type": "mcp", "server_label": "orders", "server_url": "https://example.com/mcp"}
    told = types(send(core, "session.update", session={"type": "realtime", "tools": [tool]}))
    assert told == [
        "session.updated",
        "conversation.item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.failed",
    ]
