"""What a model reads of an MCP tool's result."""

from __future__ import annotations

import mcp_types as types
import pytest
from pydantic_core import to_json

from shared.mcp.plain_text import plain
from shared.mcp.results import error_text, read_result


def text(words: str, **more: object) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=words)], **more)  # type: ignore[arg-type]


def test_structured_content_comes_before_text() -> None:
    assert read_result(text("{}", structured_content={"open": "1.00"}), 1000).value == {"open": "1.00"}


def test_structured_content_that_is_no_object_gets_a_name() -> None:
    assert read_result(text("", structured_content=[1, 2]), 1000).value == {"result": [1, 2]}


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ('{"open": 5}', {"open": 5}),
        ("Paid.", {"text": "Paid."}),
        ("[1, 2]", {"text": "[1, 2]"}),
        ("{broken", {"text": "{broken"}),
    ],
)
def test_text_is_passed_on_and_an_object_in_it_as_such(words: str, value: object) -> None:
    assert read_result(text(words), 1000).value == value


def test_what_can_not_be_read_aloud_is_named() -> None:
    result = types.CallToolResult(
        content=[
            types.ImageContent(data="AAAA", mime_type="image/png"),
            types.ResourceLink(name="invoice", uri="https://billing.example/1.pdf"),
            types.EmbeddedResource(resource=types.TextResourceContents(uri="file:///a", text="inside")),
        ]
    )
    told = read_result(result, 1000).value["text"]
    assert told == (
        "[image of type image/png, not shown]\n[link to invoice: https://billing.example/1.pdf]\ninside"
    )


@pytest.mark.parametrize("words", ["x" * 50_000, "\x01\u00e9\u20ac" * 20_000, '"\\' * 20_000])
@pytest.mark.parametrize("limit", [500, 4_000])
def test_what_is_too_long_is_cut_and_says_so(words: str, limit: int) -> None:
    reading = read_result(text(words), limit)
    assert reading.cut
    assert len(to_json(reading.value)) <= limit
    assert str(len(words.encode())) in str(reading.value["_cut"])


def test_structured_content_that_is_too_long_is_cut_as_text() -> None:
    reading = read_result(text("", structured_content={"rows": ["row"] * 1000}), 1000)
    assert str(reading.value["text"]).startswith('{"rows":["row"')
    assert reading.cut


def test_unseen_characters_are_taken_out_and_that_is_said() -> None:
    reading = read_result(text("", structured_content={"note": "pay\u202eme\U000e0049"}), 1000)
    assert reading.value == {"note": "payme", "_removed": "invisible characters"}
    assert reading.removed


def test_words_and_emoji_stay_as_they_are() -> None:
    words = "Zażółć gęślą jaźń 👩\u200d👧 \u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645\n"
    assert plain(words) == (words, False)


def test_an_error_is_told_in_the_servers_words_without_control_characters() -> None:
    assert error_text(text("Error:\x1b[31m  no\nsuch invoice", is_error=True)) == "Error:[31m no such invoice"
