"""Nothing that was said survives; everything that a conversation decides by does."""

from __future__ import annotations

import json
import re
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_worker.recording.masking import EventMask, mask_json_text, mask_own, mask_text

STAND_INS = "x0\u00d7\u2715\U0001d5d1"
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
JSON_TEXT = JSON_VALUES.map(json.dumps) | JSON_VALUES.map(lambda value: json.dumps(value, ensure_ascii=False))
NAMES = st.sampled_from(
    ["type", "id", "name", "text", "transcript", "arguments", "output", "session", "tools", "instructions",
     "metadata", "content", "delta", "variables", "expires_at", "input_tokens", "surprise"]
)  # fmt: skip
EVENTS = st.dictionaries(
    NAMES,
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT | JSON_TEXT | st.sampled_from(["function", "id_1"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=16,
    ),
    max_size=6,
)


@given(TEXT)
def test_masked_text_has_its_shape_and_nothing_else(text: str) -> None:
    masked = mask_text(text)
    rest = re.sub(r"\\(u0000|[bfnrt])", "", masked)
    assert all(c in STAND_INS or c.isspace() or (c.isascii() and not c.isalnum()) for c in rest)
    assert mask_text(masked) == masked
    assert len(masked) == len(text)
    assert len(masked.encode()) == len(text.encode())
    assert masked.strip() == mask_text(text.strip())


@given(st.text("abcdefghijklmnopqrstuvwyzABCDEFGHIJKLMNOPQRSTUVWYZ123456789äöçЖ日本語", min_size=1))
def test_no_letter_and_no_digit_survives(text: str) -> None:
    kept = set(mask_text(text)) | set(mask_json_text(json.dumps([text, {"a": text}], ensure_ascii=False)))
    assert not kept & set(text) - {"a"}


@given(JSON_TEXT | TEXT)
def test_masked_json_text_is_json_of_the_same_size(text: str) -> None:
    masked = mask_json_text(text)
    assert mask_json_text(masked) == masked
    assert len(masked.encode()) == len(text.encode())


@given(JSON_TEXT | TEXT, st.integers(0, 60))
def test_text_that_is_cut_is_masked_alike_before_and_after(text: str, length: int) -> None:
    if "\\u" not in text:  # cut inside of an escape, a digit more or less can show
        assert mask_text(mask_json_text(text)[:length]) == mask_text(text[:length])


def test_json_text_keeps_structure_names_and_truths() -> None:
    text = '{"name": "Ann Lee", "paid": true, "amounts": [12.50, -7, 3e10], "none": null, "Mrs Smith": 1}'
    masked = mask_json_text(text)
    assert masked == (
        '{"name": "xxx xxx", "paid": true, "amounts": [10.10, -0, 0e10], "none": null, "xxx xxxxx": 0}'
    )
    assert json.loads(masked).keys() == {"name", "paid", "amounts", "none", "xxx xxxxx"}


@given(EVENTS)
def test_masking_an_event_again_changes_nothing(event: dict[str, object]) -> None:
    mask = EventMask()
    masked = mask.mask(event)
    assert mask.mask(masked) == masked
    assert EventMask().mask(json.loads(json.dumps(masked))) == masked


SECRET = "Hannah"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "x", "transcript": SECRET},
        {"type": "x", "item": {"type": "message", "name": SECRET, "content": [{"text": SECRET}]}},
        {"type": "x", "item": {"type": "function_call", "name": "f", "arguments": f'{{"name": "{SECRET}"}}'}},
        {"type": "x", "item": {"type": "function_call", "name": f"f {SECRET}", "arguments": {"id": SECRET}}},
        {"type": "x", "item": {"type": "function_call_output", "output": f'{{"code": "{SECRET}"}}'}},
        {"type": "x", "error": {"message": f"About {SECRET}.", "param": SECRET}},
        {"type": "x", "response": {"metadata": {"who": SECRET, SECRET: "y"}, "instructions": SECRET}},
        {"type": "x", "session": {"instructions": SECRET, "tools": [{"type": "mcp", "name": SECRET}]}},
        {"type": "x", "session": {"tools": [{"type": "function", "name": "f", "description": SECRET}]}},
        {"type": "x", "session": {"prompt": {"id": "p", "variables": {"name": SECRET, "id": SECRET}}}},
        {"type": "x", "session": {"audio": {"input": {"transcription": {"prompt": SECRET}}}}},
        {"type": "x", "delta": SECRET, "audio": SECRET},
        {"type": "x", "never_heard_of": [[{"deep": SECRET}]]},
        {"type": "x", f"to {SECRET}": 1},
        {"type": f"x {SECRET}", "id": f"{SECRET}@example.com"},
    ],
)
def test_what_may_say_something_is_masked_wherever_it_stands(event: dict[str, object]) -> None:
    assert SECRET not in json.dumps(EventMask().mask(event))


def test_what_the_conversation_reads_of_an_event_stays() -> None:
    event: dict[str, object] = {
        "type": "response.done",
        "event_id": "event_1a",
        "response": {
            "id": "resp_9z",
            "status": "completed",
            "metadata": {"sidetone_request": "rsp_1_2"},
            "usage": {"input_tokens": 120, "input_token_details": {"cached_tokens": 64}, "output_tokens": 9},
            "output": [
                {"type": "function_call", "id": "item_1", "call_id": "call_1", "name": "look_up",
                 "status": "completed", "arguments": '{"number":"7"}'}
            ],
        },
    }  # fmt: skip
    masked = EventMask().mask(event)
    cast("list[dict[str, object]]", cast("dict[str, object]", event["response"])["output"])[0][
        "arguments"
    ] = '{"number":"0"}'
    assert masked == event


def test_a_replaced_configuration_still_differs() -> None:
    mask = EventMask()

    def session(instructions: str, description: str) -> object:
        tool = {"type": "function", "name": "f", "description": description, "parameters": {"type": "object"}}
        return mask.mask({"session": {"instructions": instructions, "tools": [tool]}})["session"]

    ours = session("Be kind.", "Look up.")
    assert session("Be kind.", "Look up.") == ours
    assert session("Be rude.", "Look up.") != ours
    assert session("Be kind.", "Hang up.") != ours


def test_fingerprints_of_two_recordings_can_not_be_compared() -> None:
    event = {"session": {"instructions": "Be kind."}}
    assert EventMask().mask(event) != EventMask().mask(event)


def test_our_own_records_keep_identifiers_only() -> None:
    assert mask_own("tool_call_id", "call_1") == "call_1"
    assert mask_own("reason", "caller hung up") == "xxxxxx xxxx xx"
    assert mask_own("detail", "timeout") == "xxxxxxx"
    assert mask_own("output", '{"a":"b"}') == '{"a":"x"}'
