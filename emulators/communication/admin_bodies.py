"""The bodies of `/_emu` requests. Unknown fields are refused: a misspelt one shall not be lost."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from emulators.communication.event_grid import EventBody
from emulators.communication.options import EventSchema
from emulators.communication.phones import Behaviour

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=600_000)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=600_000)]


class Words(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What somebody says: `text`, a tone of `tone_ms` (that may stand for the text), or a `wav` (base64)."""

    text: str | None = None
    tone_ms: Positive | None = None
    hertz: Annotated[int, msgspec.Meta(ge=20, le=10_000)] = 440
    wav: bytes | None = None


class Ring(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"caller": "from"}):
    """Somebody calls, and `say`s something once the call is answered."""

    caller: str = "+15550100"
    to: str = "+15550199"
    display_name: str = ""
    sip_headers: dict[str, str] | None = None
    voip_headers: dict[str, str] | None = None
    duplicates: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0
    batch_with: list[EventBody] | None = None
    say: Words | None = None
    say_after_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 500


class Say(Words, kw_only=True, forbid_unknown_fields=True):
    """Somebody on the phone says something."""

    participant: str | None = None
    wait: bool = True


class Listen(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Wait until somebody has heard `ms` of sound, or `ms` of quiet; times are call time."""

    until: Literal["sound", "quiet"]
    ms: Positive = 600
    timeout_ms: Positive = 30_000
    participant: str | None = None


class Press(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Keys of a telephone."""

    digits: Annotated[str, msgspec.Meta(pattern=r"^[0-9*#A-D]{1,64}$")]
    participant: str | None = None


class Person(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One of those in the call, or all (none named)."""

    participant: str | None = None


class Decide(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to do with a ringing telephone; the number is needed where several ring."""

    outcome: Literal["answer", "busy", "decline", "no_answer", "unreachable", "machine"] = "answer"
    number: str | None = None


class SetPhone(Behaviour, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a number does from now on; `*` for all others."""

    number: str


class Drop(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Break the media connection."""

    reopen: bool = True
    reopen_after_ms: Milliseconds | None = None


class RawMedia(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Send what the service never sends: a text, a binary message, or one of `size` characters."""

    text: str | None = None
    base64: bytes | None = None
    size: Annotated[int, msgspec.Meta(ge=1, le=64 * 1024 * 1024)] | None = None


class Subscribe(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An Event Grid subscription."""

    url: str
    schema: EventSchema = "eventgrid"
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{3,64}$")] = "incoming-calls"


class Publish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Events to be delivered as one batch."""

    events: Annotated[list[EventBody], msgspec.Meta(min_length=1)]
    duplicates: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0


class Rotate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A new signing key; `forget` takes the old ones out of the JWKS."""

    forget: bool = False
