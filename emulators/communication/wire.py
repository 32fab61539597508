"""JSON across the wire: checked on the way in, and the service's refusals on the way out.

Codes: Microsoft's table "Call Automation SDK error codes" (troubleshooting call end response codes).
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
import orjson
from aiohttp import web

Json = dict[str, object]
T = TypeVar("T")

INVALID_ARGUMENT = "8523"
NOT_FOUND = "8522"
NOT_ESTABLISHED = "8501"
TERMINATED = "8528"
CONFLICT = "8519"
NOT_SUPPORTED = "8520"
INVALID_STREAM_URL = "8581"


class RejectedError(Exception):
    """The service refuses a request; `code` and `message` go into the error body."""

    def __init__(self, status: int, code: str, message: str, *, target: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.target = target

    def body(self) -> Json:
        """Return the error body, as the SDK's `CommunicationErrorResponse` reads it."""
        error: Json = {"code": self.code, "message": self.message}
        if self.target is not None:
            error["target"] = self.target
        return {"error": error}


def invalid(message: str, *, target: str | None = None) -> RejectedError:
    """Return the refusal of a wrong argument."""
    return RejectedError(400, INVALID_ARGUMENT, message, target=target)


def decode(body: bytes, kind: type[T]) -> T:
    """Return `body` as a `kind`; an empty body is an empty object. Raises RejectedError (400)."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise invalid(f"The request body is not valid: {error}") from None
    except msgspec.DecodeError as error:
        raise invalid(f"The request body is not JSON: {error}") from None


async def read(request: web.Request, kind: type[T]) -> T:
    """Return the request's body as a `kind`; raises RejectedError (400)."""
    return decode(await request.read(), kind)


def answer(body: object = None, *, status: int = 200) -> web.Response:
    """Return `body` as a JSON response; None is an empty one."""
    if body is None:
        return web.Response(status=status)
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def without_nulls(body: Json) -> Json:
    """Return `body` without its null members, as the service sends it."""
    return {name: value for name, value in body.items() if value is not None}
