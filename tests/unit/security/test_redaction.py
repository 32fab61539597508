"""Redaction, by property: what must never survive, what must always survive."""

from __future__ import annotations

import logging
import re
import sys
import time
import uuid
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.errors import NotFoundError
from shared.ids import new_session_id
from shared.security.redaction import (
    EMAIL,
    NUMBER,
    SECRET,
    RedactionFilter,
    is_denied,
    redact,
    redact_fields,
)
from shared.session.model import EndReason

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
TOKEN_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

digits = st.text("0123456789", min_size=7, max_size=19)
separators = st.sampled_from(["", " ", "-", ".", " - ", "/", "\u00a0", "\u2011", ") ", " ("])
words = st.text(st.characters(codec="utf-8", exclude_categories=["Nd", "Nl", "No", "Cs"]), max_size=30)


@st.composite
def phone_like(draw: st.DrawFn) -> str:
    number = draw(digits)
    grouped = "".join(digit + (draw(separators) if draw(st.integers(0, 3)) == 0 else "") for digit in number)
    return draw(st.sampled_from(["", "+", "00", "(", "tel:"])) + grouped


def longest_run(text: str) -> int:
    return max(
        (len(run) for run in re.findall(r"\d+", re.sub(r"[\s().\-/\u2010-\u2015]", "", text))), default=0
    )


@given(words, phone_like(), words)
def test_no_number_that_looks_like_a_phone_or_card_survives(before: str, number: str, after: str) -> None:
    redacted = redact(f"{before} {number} {after}")
    assert longest_run(redacted) < 7, redacted


@given(words, phone_like(), words)
def test_nor_does_one_that_sits_between_letters(before: str, number: str, after: str) -> None:
    assert longest_run(redact(before + number + after)) < 7


@given(
    st.sampled_from(["ek_", "sk-", "sk-proj-", "whsec_", "rk_", "sk_"]),
    st.text(TOKEN_ALPHABET, min_size=12, max_size=80),
    st.sampled_from(["{}", "key {}.", '{{"value": "{}"}}', "({})", "x={},", "Bearer {}"]),
)
def test_no_secret_survives(prefix: str, body: str, around: str) -> None:
    redacted = redact(around.format(prefix + body))
    assert body not in redacted
    assert SECRET in redacted


@given(
    st.sampled_from(
        [
            "Authorization: Bearer {}",
            "authorization: basic {}",
            "api-key: {}",
            "AZURE_OPENAI_API_KEY={}",
            '{{"api_key": "{}"}}',
            "AccountKey={};EndpointSuffix=x",
            "InstrumentationKey={}",
            "https://host/api?code={}&x=1",
            "https://blob/x?sv=1&sig={}",
            "rediss://user:{}@host:10000",
            "password='{}'",
            "client_secret={}",
            "SIGNING_KEYS=k1:{}",
        ]
    ),
    st.text(TOKEN_ALPHABET, min_size=8, max_size=80),
)
def test_no_credential_survives_beside_its_name(around: str, secret: str) -> None:
    assert secret not in redact(around.format(secret))


@given(st.lists(st.text(TOKEN_ALPHABET + "-_", min_size=4, max_size=60), min_size=2, max_size=2))
def test_no_web_token_survives(parts: list[str]) -> None:
    token = ".".join(["eyJhbGciOiJIUzI1NiJ9", *parts])
    assert token not in redact(f"got {token} back")


@given(st.emails(domains=st.sampled_from(["example.com", "mail.example.co.uk"])))
def test_no_plain_address_survives(address: str) -> None:
    local = address.partition("@")[0]
    redacted = redact(f"from <{address}>")
    assert EMAIL in redacted or SECRET in redacted
    assert address not in redacted
    if len(local) > 2 and re.fullmatch(r"[\w.+%-]+", local):
        assert local not in redacted


identifiers = st.one_of(
    st.text(ALPHABET, min_size=26, max_size=26).map("ses_".__add__),
    st.builds("{}_{}{}".format, st.sampled_from(["rtc", "item", "resp", "call", "event"]), st.just("x"),
              st.text(TOKEN_ALPHABET, min_size=8, max_size=40)),
    st.uuids().map(str),
    st.integers(10**30, 2**128 - 1).map("{:032x}".format).filter(lambda text: not text.isdigit()),
    st.builds("00-{:032x}-{:016x}-01".format, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1)),
)  # fmt: skip


@given(
    st.sampled_from(["{}", "session {} attached", '{{"id":"{}"}}', "/api/v1/sessions/{}/end", "({})"]),
    identifiers,
)
def test_identifiers_survive(around: str, identifier: str) -> None:
    text = around.format(identifier)
    assert redact(text) == text


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "attached in 1234.5 ms after 3 tries",
        "code=invalid_settings status=404",
        "127.0.0.1:6390 refused, then 10.12.130.44:10000 did",
        "at 2026-11-21T12:45:28.123456+00:00",
        "http://127.0.0.1:7071/api/v1/sessions?limit=50&state=active",
    ],
)
def test_what_an_operator_needs_survives(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("my number is 555-123-4567.", f"my number is {NUMBER}."),
        ("SSN 078-05-1120", f"SSN {NUMBER}"),
        ("card 4111 1111 1111 1111", f"card {NUMBER}"),
        ("born 1980-02-29", f"born {NUMBER}"),
        ("٠٥٥٥١٢٣٤٥٦٧", NUMBER),
        ("sip:+4930123456@sbc.example.com", f"sip:{EMAIL}"),
        ("ses_123 called 5551234567", f"ses_123 called {NUMBER}"),
        ("from 203.0.113.250", f"from {NUMBER}"),
    ],
)
def test_what_is_somebodys_own_does_not(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "piece",
    [
        "1 ",
        "a@",
        "a-",
        "a.",
        "eyJ",
        "-eyJ",
        "-",
        "client_",
        "api-",
        "key=",
        "0-",
        "10.",
        "://a:",
        "rtc_1",
        "sk-",
        "=/",
    ],
)
def test_no_text_is_slow_to_redact(piece: str) -> None:
    """A megabyte is cut first; and nothing in what remains makes the patterns run away."""
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    assert len(redact(text)) < 30_000
    assert time.process_time() - started < 0.5


@given(st.text(max_size=60))
def test_the_quick_look_misses_nothing(text: str) -> None:
    assert redact(text) == redact(text + " :")[:-2]


def test_fields_named_for_content_are_dropped_at_any_depth() -> None:
    fields = {
        "tool": "claim_status",
        "arguments": {"member": "M-1"},
        "request": {"headers": {"Authorization": "Bearer abc", "x-request-id": "r1"}, "body": "{}"},
        "turns": [{"transcript": "hello", "ms": 12}],
        "azure_openai_api_key": "k",
        "gen_ai.tool.call.arguments": "{}",
        "gen_ai.tool.call.id": "call_abc123",
        "code": "not_found",
    }
    assert redact_fields(fields) == {
        "tool": "claim_status",
        "request": {"headers": {"x-request-id": "r1"}},
        "turns": [{"ms": 12}],
        "gen_ai.tool.call.id": "call_abc123",
        "code": "not_found",
    }


@dataclass
class Turn:
    text: str


def test_values_become_plain_or_only_their_type() -> None:
    identifier = uuid.uuid4()
    fields = {
        "reason": EndReason.IDLE,
        "turn": Turn("my name is Jane"),
        "key": SecretStr("s"),
        "blob": b"abc",
        "error": ValueError("Jane"),
        "ours": NotFoundError("session_not_found", "No."),
        "request_id": identifier,
        "members": {"one": 1.5, "two": None, "three": True},
    }
    assert redact_fields(fields) == {
        "reason": "idle",
        "turn": "<Turn>",
        "key": "<SecretStr>",
        "blob": "<3 bytes>",
        "error": "ValueError",
        "ours": "session_not_found",
        "request_id": str(identifier),
        "members": {"one": 1.5, "two": None, "three": True},
    }


def test_numbers_keep_only_where_they_measure() -> None:
    assert redact_fields(
        {"at_ms": 1763000000000, "caller": 4930123456, "tries": 3, "body_bytes": 9_999_999}
    ) == {
        "at_ms": 1763000000000,
        "caller": NUMBER,
        "tries": 3,
        "body_bytes": 9_999_999,
    }


def test_stream_ids_survive_in_the_fields_that_hold_them() -> None:
    fields = {"entry_id": "1763000000000-0", "worker": "worker-1234567-abc", "span_id": "1234567890123456"}
    assert redact_fields(fields) == fields
    assert redact_fields({"entry_id": "sk-abcdefghijkl"}) == {"entry_id": SECRET}


def test_deep_and_wide_fields_are_bounded() -> None:
    loop: dict[str, object] = {"deeper": None}
    loop["deeper"] = loop
    assert len(str(redact_fields({"loop": loop}))) < 500
    assert len(redact_fields({f"f{n}x": n for n in range(1000)})) == 64


@pytest.mark.parametrize(
    "name", ["Authorization", "x-functions-key", "OPENAI_API_KEY", "sdp_offer", "client-token"]
)
def test_names_are_recognised_in_any_spelling(name: str) -> None:
    assert is_denied(name)


@pytest.mark.parametrize(
    "name", ["server.address", "gen_ai.token.type", "input_tokens", "code", "content_type"]
)
def test_names_that_only_sound_alike_are_not(name: str) -> None:
    assert not is_denied(name)


def record_of(
    message: str, *args: object, extra: dict[str, object] | None = None, exc: bool = False
) -> logging.LogRecord:
    return logging.getLogger("test").makeRecord(
        "test", logging.INFO, __file__, 1, message, args, sys.exc_info() if exc else None, "f", extra
    )


def test_a_record_is_redacted_in_place_once() -> None:
    session_id = new_session_id()
    record = record_of(
        "call from %s failed",
        "+1 555 123 4567",
        extra={
            "session_id": session_id,
            "token": "t",
            "context": {"email": "a@example.com", "phone_hint": "5551234567"},
        },
    )
    assert RedactionFilter().filter(record)
    assert record.getMessage() == f"call from {NUMBER} failed"
    assert vars(record)["context"] == {"phone_hint": NUMBER}
    assert vars(record)["session_id"] == session_id
    assert "token" not in vars(record)
    before = dict(vars(record))
    assert RedactionFilter().filter(record)
    assert vars(record) == before


def test_of_a_foreign_exception_only_the_type_and_the_place_remain() -> None:
    try:
        try:
            raise KeyError("member Jane Doe")
        except KeyError as error:
            raise ValueError("secret of Jane Doe, 555-123-4567") from error
    except ValueError:
        record = record_of("tool failed", exc=True)
    RedactionFilter().filter(record)
    text = logging.Formatter().format(record) + str(vars(record))
    assert "Jane" not in text
    assert (vars(record)["error_type"], vars(record)["error_cause"]) == ("ValueError", "KeyError")
    assert "test_redaction.py" in vars(record)["error_stack"][-1]


def test_of_our_own_errors_the_code_and_detail_remain() -> None:
    try:
        raise NotFoundError("session_not_found", "No session has the call 5551234567.")
    except NotFoundError:
        record = record_of("refused", exc=True)
    RedactionFilter().filter(record)
    assert vars(record)["error_code"] == "session_not_found"
    assert vars(record)["error_detail"] == f"No session has the call {NUMBER}."


def test_a_wrong_format_string_does_not_cost_the_record() -> None:
    record = record_of("%d tries", "three")
    assert RedactionFilter().filter(record)
    assert record.getMessage() == "%d tries"
