"""Fields of JSON text that are kept from people and sinks that need not see them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

import msgspec

MASK = "***"


def mask_fields(text: str, names: Collection[str]) -> str:
    """Return JSON text in which every field called one of `names`, at any depth, reads "***".

    Text that is no JSON is masked whole: nobody can say where in it the fields are.
    """
    if not names:
        return text
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return msgspec.json.encode(MASK).decode()
    return msgspec.json.encode(masked(value, frozenset(names))).decode()


def masked(value: object, names: Collection[str]) -> object:
    """Return a JSON value with the fields called one of `names` masked."""
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        return {name: MASK if name in names else masked(field, names) for name, field in fields.items()}
    if isinstance(value, list):
        return [masked(element, names) for element in cast("list[object]", value)]
    return value
