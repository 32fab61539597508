"""JSON values as they cross the wire, and typed ways to look into them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

Json = dict[str, object]

_KINDS: tuple[tuple[type, str], ...] = (
    (dict, "an object"),
    (list, "an array"),
    (str, "a string"),
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a number"),
    (type(None), "null"),
)


def as_object(value: object) -> Json | None:
    """Return `value` when it is a JSON object, else None."""
    return cast(Json, value) if isinstance(value, dict) else None


def as_list(value: object) -> list[object] | None:
    """Return `value` when it is a JSON array, else None."""
    return cast("list[object]", value) if isinstance(value, list) else None


def as_text(value: object) -> str | None:
    """Return `value` when it is a string, else None."""
    return value if isinstance(value, str) else None


def object_at(source: Mapping[str, object], *path: str) -> Json:
    """Return the object at `path`, or an empty one where something on the way is missing or null."""
    here: Mapping[str, object] = source
    for step in path:
        here = as_object(here.get(step)) or {}
    return dict(here)


def text_at(source: Mapping[str, object], *path: str, default: str = "") -> str:
    """Return the string at `path`, or `default`."""
    value = object_at(source, *path[:-1]).get(path[-1])
    return value if isinstance(value, str) else default


def describe(value: object) -> str:
    """Return the JSON kind of `value` in words, for messages ("a string")."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "a value")


class RejectedError(Exception):
    """The service refuses a request or a client event.

    `code`, `message` and `param` go into the error body; `kind` is the body's `type`, `status` the HTTP
    status when the request came by REST.
    """

    def __init__(
        self,
        code: str | None,
        message: str,
        *,
        param: str | None = None,
        status: int = 400,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.status = status
        self.kind = kind

    def body(self) -> Json:
        """Return the REST error body."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}
