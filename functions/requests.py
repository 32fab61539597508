"""What a request carries, checked: body, content type, query, bearer token, SDP."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from shared.errors import InvalidRequestError, UnauthorizedError

if TYPE_CHECKING:
    import azure.functions as func

T = TypeVar("T")
_STREAM_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


def check_size(request: func.HttpRequest, maximum: int) -> None:
    """Raise 413 `body_too_large` for a body of more than `maximum` bytes."""
    size = len(request.get_body())
    if size > maximum:
        raise InvalidRequestError(
            "body_too_large",
            f"The body has {size} bytes; at most {maximum} are accepted.",
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )


def check_content_type(request: func.HttpRequest, expected: str) -> None:
    """Raise 415 `unsupported_media_type` unless the body is declared as `expected`."""
    given = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if given != expected:
        raise InvalidRequestError(
            "unsupported_media_type",
            f"Send the body as Content-Type: {expected}" + (f", not {given}." if given else "."),
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )


def json_body(request: func.HttpRequest, body_type: type[T]) -> T:
    """Decode the body as `body_type`.

    Raises 415, 400 `invalid_json` (not JSON at all) or 400 `invalid_body` (JSON of another
    shape; the message names the place).
    """
    import msgspec

    check_content_type(request, "application/json")
    body = request.get_body()
    try:
        return msgspec.json.decode(body, type=body_type)
    except msgspec.ValidationError as error:
        raise InvalidRequestError("invalid_body", f"The body does not fit: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError("invalid_json", _not_json(body, str(error))) from error


def _not_json(body: bytes, complaint: str) -> str:
    if not body:
        return "The body is empty; send a JSON object with a Content-Length."
    return f"The body is not JSON: {complaint}."


def sdp_offer(request: func.HttpRequest) -> str:
    """Return the SDP offer in the body.

    Raises 415, or 400 `invalid_sdp` for what no provider could answer: a cheap look, not a parser.
    """
    check_content_type(request, "application/sdp")
    try:
        text = request.get_body().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequestError("invalid_sdp", "The SDP offer is not UTF-8 text.") from error
    lines = text.splitlines()
    if not lines or lines[0].strip() != "v=0":
        raise InvalidRequestError("invalid_sdp", "This is not an SDP offer: its first line must be v=0.")
    if not any(line.startswith("m=audio ") for line in lines):
        raise InvalidRequestError("invalid_sdp", "The SDP offer has no audio: an m=audio section is needed.")
    return text


def bearer_token(request: func.HttpRequest) -> str:
    """Return the token of the Authorization header; raise 401 `token_missing` without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthorizedError("token_missing", "Send the token as Authorization: Bearer <token>.")
    return token.strip()


def whole_number(request: func.HttpRequest, name: str, *, default: int, least: int, most: int) -> int:
    """Return the query parameter `name` as an int in `least` … `most`; raise 400 `invalid_query`."""
    given = request.params.get(name)
    if given is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", given) or not least <= int(given) <= most:
        raise InvalidRequestError("invalid_query", f"{name} must be a whole number from {least} to {most}.")
    return int(given)


def stream_id(request: func.HttpRequest, name: str) -> str:
    """Return the query parameter `name` as an id of the event log; "0-0", the start, without one."""
    given = request.params.get(name, "0-0")
    if not _STREAM_ID.fullmatch(given):
        raise InvalidRequestError(
            "invalid_query", f"{name} must be the id of an event, as in 1790000000000-0."
        )
    return given


def required_text(request: func.HttpRequest, name: str, *, longest: int) -> str:
    """Return the query parameter `name`; raise 400 `invalid_query` when it is missing or too long."""
    given = request.params.get(name, "").strip()
    if not given or len(given) > longest:
        raise InvalidRequestError("invalid_query", f"Give {name} in the query, at most {longest} characters.")
    return given
