"""What a request may carry, and what it is told when it does not fit."""

from __future__ import annotations

import azure.functions as func
import pytest

from functions.bodies import CallReport, EndRequest, TokenRequest
from functions.requests import (
    bearer_token,
    check_size,
    json_body,
    required_text,
    sdp_offer,
    stream_id,
    whole_number,
)
from shared.errors import InvalidRequestError, SidetoneError

OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"


def request(
    body: bytes = b"", *, content_type: str = "", query: dict[str, str] | None = None, **headers: str
) -> func.HttpRequest:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        sent["Content-Type"] = content_type
    return func.HttpRequest("POST", "/api/v1/x", headers=sent, params=query, body=body)


def told(error: pytest.ExceptionInfo[SidetoneError]) -> tuple[str, int]:
    return error.value.code, int(error.value.status)


def test_a_body_that_is_too_large() -> None:
    check_size(request(b"x" * 10), 10)
    with pytest.raises(InvalidRequestError) as error:
        check_size(request(b"x" * 11), 10)
    assert told(error) == ("body_too_large", 413)
    assert "11" in error.value.detail
    assert "10" in error.value.detail


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_json_must_be_declared(content_type: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        json_body(request(b"{}", content_type=content_type), TokenRequest)
    assert told(error) == ("unsupported_media_type", 415)
    assert "application/json" in error.value.detail


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"{'agent': 1}"])
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as error:
        json_body(request(body, content_type="application/json; charset=utf-8"), TokenRequest)
    assert told(error) == ("invalid_json", 400)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"agent":"a","extra":1}', "extra"),
        (b'{"language":"english"}', "language"),
        (b'{"agent":1}', "$.agent"),
        (b'{"agent":""}', "$.agent"),
        (b'{"agent":"a","variables":{"plan":7}}', "$.variables"),
        (b'["agent"]', "object"),
    ],
)
def test_json_of_another_shape_names_the_place(body: bytes, place: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        json_body(request(body, content_type="application/json"), TokenRequest)
    assert told(error) == ("invalid_body", 400)
    assert place in error.value.detail


def test_good_bodies() -> None:
    asked = json_body(
        request(b'{"agent":"a","variables":{"plan":"gold"}}', content_type="application/json"), TokenRequest
    )
    assert (asked.agent, asked.variables) == ("a", {"plan": "gold"})
    assert json_body(request(b'{"call_id":"rtc_1"}', content_type="Application/JSON"), CallReport)
    assert json_body(request(b"{}", content_type="application/json"), EndRequest).reason == "operator_ended"


def test_an_sdp_offer() -> None:
    assert sdp_offer(request(OFFER.encode(), content_type="application/sdp")) == OFFER


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"{}", b"v=0\r\n", OFFER.replace("audio", "video").encode(), b"v=0\r\n\xff"]
)
def test_what_is_not_an_sdp_offer(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as error:
        sdp_offer(request(body, content_type="application/sdp"))
    assert told(error) == ("invalid_sdp", 400)


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearer  ", "abc"])
def test_a_missing_token(header: str) -> None:
    with pytest.raises(SidetoneError) as error:
        bearer_token(request(authorization=header))
    assert told(error) == ("token_missing", 401)


def test_a_token() -> None:
    assert bearer_token(request(authorization="bearer abc.def")) == "abc.def"


@pytest.mark.parametrize("given", ["0", "501", "-1", "x", "1.5", "999999999999", "٣"])
def test_numbers_out_of_range(given: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        whole_number(request(query={"limit": given}), "limit", default=100, least=1, most=500)
    assert told(error) == ("invalid_query", 400)
    assert "limit" in error.value.detail


def test_numbers() -> None:
    assert whole_number(request(), "limit", default=100, least=1, most=500) == 100
    assert whole_number(request(query={"limit": "500"}), "limit", default=100, least=1, most=500) == 500


@pytest.mark.parametrize("given", ["", "5", "a-b", "5-", "$", "+"])
def test_what_is_not_an_event_id(given: str) -> None:
    with pytest.raises(InvalidRequestError):
        stream_id(request(query={"after": given}), "after")


def test_event_ids_and_text() -> None:
    assert stream_id(request(), "after") == "0-0"
    assert stream_id(request(query={"after": "1700000000000-3"}), "after") == "1700000000000-3"
    assert required_text(request(query={"agent": " a "}), "agent", longest=3) == "a"
    for given in ({}, {"agent": " "}, {"agent": "long"}):
        with pytest.raises(InvalidRequestError):
            required_text(request(query=given), "agent", longest=3)
