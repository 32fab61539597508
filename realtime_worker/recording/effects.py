"""Effects and the setup of a conversation as masked JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, cast, get_type_hints

import msgspec

from realtime_worker.conversation.effects import Effect
from realtime_worker.conversation.role import Role
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.recording.masking import EventMask, Json, mask_json_text, mask_own, mask_text
from shared.session.codec import LOG

# What tools and models have told, under names of the agents' author.
_FACTS = frozenset({"facts", "context"})


def masked_effects(effects: Iterable[Effect], mask: EventMask) -> list[Json]:
    """Return effects as JSON objects `{"type": "<class in snake_case>", …fields}`, masked."""
    return [_record(effect, mask) for effect in effects]


def masked_setup(setup: ConversationSetup, mask: EventMask) -> Json:
    """Return a conversation's setup as JSON, masked; `setup_of` reads it."""
    return {
        **_fields(setup, mask),
        "role": masked_role(setup.role, mask),
        "earlier": [masked_role(role, mask) for role in setup.earlier],
        "answered": {call: mask_json_text(output) for call, output in setup.answered.items()},
    }


def masked_role(role: Role, mask: EventMask) -> Json:
    """Return an agent's part in a conversation as JSON, masked; msgspec reads it."""
    return {
        **_fields(role, mask),
        "executions": {name: str(execution) for name, execution in role.executions.items()},
        "repeatable": sorted(role.repeatable),
        "requires": {name: list(facts) for name, facts in role.requires.items()},
        "manners": {
            name: {
                **_fields(manners, mask),
                "filler": mask_text(manners.filler),
                "redact": list(manners.redact),
            }
            for name, manners in role.manners.items()
        },
        "handoffs": {
            name: {"to": rule.to, "requires": list(rule.requires), "announce": mask_text(rule.announce)}
            for name, rule in role.handoffs.items()
        },
    }


def masked_facts(facts: Mapping[str, object], mask: EventMask) -> Json:
    """Return facts with their names; what they are is masked."""
    return cast("Json", mask.mask({"variables": facts})["variables"])


def setup_of(stored: Mapping[str, object]) -> ConversationSetup:
    """Return the setup that `masked_setup` stored.

    Raises msgspec.ValidationError, SidetoneError or TypeError where it is none.
    """
    kinds = get_type_hints(ConversationSetup)
    values = {name: _value_of(name, stored[name], kinds[name]) for name in kinds if name in stored}
    return ConversationSetup(**values)


def _value_of(name: str, stored: object, kind: object) -> Any:  # as the field `name` of a setup says
    if name == "history":  # a union of records, each with its type
        entries = msgspec.convert(stored, list[dict[str, object]])
        return tuple(LOG.decode(msgspec.json.encode(entry)) for entry in entries)
    return msgspec.convert(stored, kind)


def _record(value: object, mask: EventMask) -> Json:
    return {"type": _tag(type(value)), **_fields(value, mask)}


def _fields(record: object, mask: EventMask) -> Json:
    return {
        field.name: _field(field.name, getattr(record, field.name), mask)
        for field in fields(record)  # type: ignore[arg-type]  # a dataclass, as all our records are
    }


def _field(name: str, value: object, mask: EventMask) -> object:
    """Return a field of a record of ours: numbers in those are times, counts and prices, never content."""
    if isinstance(value, Enum):
        value = cast("object", value.value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return mask_own(name, value)
    if isinstance(value, Mapping):
        fields_of = cast("Mapping[str, object]", value)
        return masked_facts(fields_of, mask) if name in _FACTS else mask.mask(fields_of)
    if isinstance(value, tuple | list):
        return [_field(name, element, mask) for element in cast("Iterable[object]", value)]
    if is_dataclass(value):
        return _record(value, mask)
    return None


def _tag(kind: type[object]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
