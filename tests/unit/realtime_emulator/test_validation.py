"""What the service refuses, with its codes, and the client event it refers to."""

from __future__ import annotations

import base64
import json

import pytest

from emulators.realtime.session.core import MAX_APPEND_BYTES
from emulators.realtime.session.validation import check_session
from emulators.realtime.wire import RejectedError
from tests.unit.realtime_emulator.session_driver import (
    answer,
    error_of,
    events,
    new_core,
    send,
    thinking,
    types,
    user_says,
)


def test_an_error_names_the_client_event() -> None:
    error = error_of(send(new_core(), "response.cancel", event_id="mine"))
    assert error == {
        "type": "invalid_request_error",
        "code": "response_cancel_not_active",
        "message": "Cancellation failed: no active response found",
        "param": None,
        "event_id": "mine",
    }


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{not json", "invalid_json"),
        ("[]", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        ("{}", "missing_required_parameter"),
        ('{"type": 5}', "invalid_value"),
        ('{"type": "response.telepathy"}', "invalid_value"),
        ('{"type": "response.create", "event_id": 7}', "invalid_type"),
    ],
)
def test_frames_that_are_no_client_events(frame: str | bytes, code: str) -> None:
    assert error_of(new_core().handle(frame))["code"] == code


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        (None, "missing_required_parameter", "session"),
        ({"instructions": "x"}, "missing_required_parameter", "session.type"),
        ({"type": "telephone"}, "invalid_value", "session.type"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        ({"type": "realtime", "voice": "marin"}, "unknown_parameter", "session.voice"),
        ({"type": "realtime", "temperature": 0.8}, "unknown_parameter", "session.temperature"),
        ({"type": "realtime", "model": "other"}, "invalid_value", "session.model"),
        (
            {"type": "realtime", "output_modalities": ["audio", "text"]},
            "invalid_value",
            "session.output_modalities",
        ),
        (
            {"type": "realtime", "audio": {"output": {"voice": "hal"}}},
            "invalid_value",
            "session.audio.output.voice",
        ),
        (
            {"type": "realtime", "audio": {"output": {"speed": 2}}},
            "decimal_above_max_value",
            "session.audio.output.speed",
        ),
        (
            {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (
            {
                "type": "realtime",
                "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 3}}},
            },
            "decimal_above_max_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            {"type": "realtime", "max_output_tokens": 0},
            "integer_below_min_value",
            "session.max_output_tokens",
        ),
        (
            {"type": "realtime", "tools": [{"type": "function"}]},
            "missing_required_parameter",
            "session.tools[0].name",
        ),
        (
            {"type": "realtime", "tools": [{"type": "function", "function": {"name": "x"}}]},
            "unknown_parameter",
            "session.tools[0].function",
        ),
        (
            {"type": "realtime", "tools": [{"type": "function", "name": "a b"}]},
            "invalid_value",
            "session.tools[0].name",
        ),
        (
            {"type": "realtime", "tools": [], "tool_choice": {"type": "function", "name": "x"}},
            "invalid_value",
            "session.tool_choice",
        ),
    ],
)
def test_session_updates_that_are_refused(session: object, code: str, param: str) -> None:
    error = error_of(send(new_core(), "session.update", session=session))
    assert (error["code"], error["param"]) == (code, param)


def test_an_update_changes_only_what_it_names() -> None:
    core = new_core()
    send(
        core,
        "session.update",
        session={"type": "realtime", "instructions": "Be brief.", "tool_choice": "none"},
    )
    updated = events(send(core, "session.update", session={"type": "realtime", "instructions": ""}))[0]
    session = updated["session"]
    assert isinstance(session, dict)
    assert (session["instructions"], session["tool_choice"]) == ("", "none")
    assert session["audio"]["input"]["transcription"] == {"model": "whisper-1"}


def test_the_voice_is_fixed_after_the_first_audio() -> None:
    core = new_core()
    marin = {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
    assert types(send(core, "session.update", session=marin)) == ["session.updated"]
    answer(core, thinking(send(core, "response.create")), "Hello.")
    cedar = {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
    assert error_of(send(core, "session.update", session=cedar))["code"] == "cannot_update_voice"
    assert types(send(core, "session.update", session=marin)) == ["session.updated"]


def test_one_response_at_a_time() -> None:
    core = new_core()
    active = thinking(send(core, "response.create"))
    error = error_of(send(core, "response.create", event_id="second"))
    assert error["code"] == "conversation_already_has_active_response"
    assert active in str(error["message"])
    cancelled = send(core, "response.cancel", response_id=active)
    assert "response.done" in types(cancelled)
    assert types(send(core, "response.create")) == ["response.created"]


def test_input_audio_that_is_refused() -> None:
    core = new_core("websocket")
    assert error_of(send(core, "input_audio_buffer.append"))["code"] == "missing_required_parameter"
    assert error_of(send(core, "input_audio_buffer.append", audio="?"))["code"] == "invalid_value"
    odd = base64.b64encode(b"abc").decode()
    assert error_of(send(core, "input_audio_buffer.append", audio=odd))["code"] == "invalid_value"
    huge = base64.b64encode(bytes(MAX_APPEND_BYTES + 2)).decode()
    assert error_of(send(core, "input_audio_buffer.append", audio=huge))["code"] == "string_above_max_length"
    error = error_of(send(core, "input_audio_buffer.commit"))
    assert error["code"] == "input_audio_buffer_commit_empty"
    fifty_ms = base64.b64encode(bytes(2400)).decode()
    send(core, "input_audio_buffer.append", audio=fifty_ms)
    assert "50.00ms" in str(error_of(send(core, "input_audio_buffer.commit"))["message"])
    assert types(send(core, "input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    on_a_call = error_of(send(new_core("webrtc"), "input_audio_buffer.append", audio=fifty_ms))
    assert on_a_call["code"] == "invalid_value"


def test_output_audio_buffer_belongs_to_calls() -> None:
    assert error_of(send(new_core("websocket"), "output_audio_buffer.clear"))["param"] == "type"
    assert types(send(new_core("sip"), "output_audio_buffer.clear")) == ["output_audio_buffer.cleared"]


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        (None, "missing_required_parameter", "item"),
        ({"type": "poem"}, "invalid_value", "item.type"),
        ({"type": "message", "role": "tool", "content": []}, "invalid_value", "item.role"),
        ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "x"}]},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "audio": ""}]},
            "invalid_value",
            "item.content[0]",
        ),
        (
            {"type": "function_call_output", "call_id": "call_x", "output": "{}"},
            "invalid_tool_call_id",
            "item.call_id",
        ),
        ({"type": "function_call_output", "call_id": "call_x", "output": {}}, "invalid_type", "item.output"),
        (
            {"type": "message", "id": "i" * 33, "role": "user", "content": []},
            "string_above_max_length",
            "item.id",
        ),
    ],
)
def test_items_that_are_refused(item: object, code: str, param: str) -> None:
    error = error_of(send(new_core(), "conversation.item.create", item=item))
    assert (error["code"], error["param"]) == (code, param)


def test_unknown_items_are_named() -> None:
    core = new_core()
    hello = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    for kind, operation in (("retrieve", "retrieve"), ("delete", "delete"), ("truncate", "truncate")):
        error = error_of(send(core, f"conversation.item.{kind}", item_id="item_x", audio_end_ms=0))
        assert error["code"] == f"item_{operation}_invalid_item_id"
    error = error_of(send(core, "conversation.item.create", item=hello, previous_item_id="item_x"))
    assert error["code"] == "item_create_invalid_previous_item_id"
    first = events(send(core, "conversation.item.create", item={**hello, "id": "a"}))[0]
    assert first["previous_item_id"] is None
    front = events(send(core, "conversation.item.create", item={**hello, "id": "b"}, previous_item_id="root"))
    assert front[0]["previous_item_id"] is None
    between = events(send(core, "conversation.item.create", item={**hello, "id": "c"}, previous_item_id="b"))
    assert between[0]["previous_item_id"] == "b"
    again = error_of(send(core, "conversation.item.create", item={**hello, "id": "c"}))
    assert again["code"] == "item_create_duplicate_item_id"
    assert types(send(core, "conversation.item.delete", item_id="c")) == ["conversation.item.deleted"]


def test_truncating_beyond_the_audio_is_refused() -> None:
    core = new_core("websocket")
    response_id = thinking(user_says(core, "hello"))
    told = events(answer(core, response_id, "A short answer.", audio_ms=1200))
    item_id = told[0]["item"]["id"]  # type: ignore[index]
    error = error_of(send(core, "conversation.item.truncate", item_id=item_id, audio_end_ms=2000))
    assert error["message"] == "Audio content of 1200ms is already shorter than 2000ms"


def test_sip_sessions_take_no_tuned_turn_detection() -> None:
    tuned = {
        "type": "realtime",
        "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 300}}},
    }
    assert check_session(tuned, transport="webrtc") == tuned
    with pytest.raises(RejectedError, match="not supported for SIP"):
        check_session(tuned, transport="sip")


def test_metadata_is_bounded() -> None:
    for metadata in ({str(n): "x" for n in range(17)}, {"k" * 65: "x"}, {"k": "x" * 513}, {"k": 1}):
        error = error_of(send(new_core(), "response.create", response={"metadata": metadata}))
        assert str(error["param"]).startswith("response.metadata")


def test_no_frame_whatever_breaks_a_session() -> None:
    core = new_core("websocket")
    weird: list[object] = [None, 1, "x", [], {}, True, {"type": None}]
    kinds = ["session.update", "response.create", "conversation.item.create", "conversation.item.truncate"]
    fields = ["session", "response", "item", "item_id", "audio_end_ms", "previous_item_id"]
    for kind in kinds:
        for field in fields:
            for value in weird:
                core.handle(json.dumps({"type": kind, field: value}))
    assert types(send(core, "input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
