"""JSON text of the tagged unions: `{"type": "<ClassName in snake_case>", …fields}`.

Decoding is strict about types and lenient about fields it does not know, so that two
versions of the product can share a log during a deployment.
"""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar, get_args

import msgspec

from shared.errors import SidetoneError
from shared.session.commands import Command
from shared.session.jobs import ControlMessage
from shared.session.log import LogEntry

T = TypeVar("T")


class Codec(Generic[T]):
    """Encodes and decodes the members of one union of dataclasses."""

    def __init__(self, union: object) -> None:
        members: tuple[type[Any], ...] = get_args(union)
        self._class_of = {_tag(member): member for member in members}
        self._tag_of = {member: _tag(member) for member in members}
        self._opening = {member: f'{{"type":"{_tag(member)}",'.encode() for member in members}
        self._encoder = msgspec.json.Encoder()

    def tag(self, value: T) -> str:
        """Return the type tag of `value`."""
        return self._tag_of[type(value)]

    def encode(self, value: T) -> bytes:
        """Return the JSON text of `value`."""
        return self._opening[type(value)] + self._encoder.encode(value)[1:]  # every member has a field

    def decode(self, data: bytes | str) -> T:
        """Return the value that `data` encodes; raise SidetoneError `undecodable` otherwise."""
        try:
            body = msgspec.json.decode(data, type=dict[str, object])
            member = self._class_of[str(body.pop("type"))]
            return msgspec.convert(body, member)
        except (msgspec.MsgspecError, KeyError) as error:
            raise SidetoneError("undecodable", f"A stored record does not decode: {error}") from error


def _tag(member: type[object]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", member.__name__).lower()


LOG: Codec[LogEntry] = Codec(LogEntry)
COMMANDS: Codec[Command] = Codec(Command)
CONTROL: Codec[ControlMessage] = Codec(ControlMessage)
