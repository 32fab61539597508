"""The session record as a Redis hash: every value is text, so that scripts can change single fields."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.errors import SidetoneError
from shared.session.model import Session, SessionState, Standing, Transport, Usage

_TEXTS = (
    "session_id",
    "agent",
    "agent_version",
    "principal",
    "call_id",
    "provider",
    "owner",
    "inbox_cursor",
    "end_reason",
    "summary",
    "traceparent",
)
_NUMBERS = ("created_at_ms", "epoch", "connected_at_ms", "ended_at_ms", "max_duration_s")
# Records of an earlier version have none of these.
_LATER_TEXTS = ("direction",)
_STANDING = "standing"
_LATER_NUMBERS = ("answered_at_ms",)
_USAGE = ("responses", "input_tokens", "cached_tokens", "output_tokens", "cost_micros")


def to_fields(session: Session) -> dict[str, str]:
    """Return the hash fields of `session`."""
    fields = {name: str(getattr(session, name)) for name in _TEXTS + _NUMBERS + _LATER_TEXTS + _LATER_NUMBERS}
    fields["state"] = session.state.value
    fields["transport"] = session.transport.value
    fields["variables"] = msgspec.json.encode(dict(session.variables)).decode()
    fields.update((name, str(getattr(session.usage, name))) for name in _USAGE)
    fields[_STANDING] = standing_text(session.standing)
    return fields


def standing_text(standing: Standing | None) -> str:
    """Return what the record keeps of `standing`: JSON, or "" for None."""
    return msgspec.json.encode(standing).decode() if standing else ""


def from_fields(fields: Mapping[str, str]) -> Session:
    """Return the session that the hash fields tell of; fields that it does not know are left alone.

    Raises SidetoneError `undecodable` when one is missing or wrong.
    """
    try:
        texts = {name: fields[name] for name in _TEXTS}
        numbers = {name: int(fields[name]) for name in _NUMBERS}
        values: dict[str, object] = {**texts, **numbers}
        values.update((name, fields.get(name, "")) for name in _LATER_TEXTS)
        values.update((name, int(fields.get(name, "0"))) for name in _LATER_NUMBERS)
        values["state"] = SessionState(fields["state"])
        values["transport"] = Transport(fields["transport"])
        values["variables"] = msgspec.json.decode(fields["variables"], type=dict[str, str])
        if standing := fields.get(_STANDING):
            values[_STANDING] = msgspec.json.decode(standing, type=Standing)
        values["usage"] = Usage(**{name: int(fields[name]) for name in _USAGE})
        return msgspec.convert(values, Session)
    except (KeyError, ValueError, msgspec.MsgspecError) as error:
        raise SidetoneError("undecodable", f"A stored session record does not decode: {error!r}") from error
