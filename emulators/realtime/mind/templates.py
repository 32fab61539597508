"""`{placeholders}` in what a rule says and in the arguments of its calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from emulators.realtime.wire import as_list, as_object

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.-]*)(?:\|([a-z]+))?\}")
FILTERS: dict[str, Callable[[str], object]] = {
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "nospace": lambda text: re.sub(r"\s+", "", text),
    "digits": lambda text: re.sub(r"\D+", "", text),
    "spaced": " ".join,
    "int": lambda text: int(float(text)),
    "float": float,
}


class TemplateError(Exception):
    """A placeholder that has no value, or whose value its filter can't take."""


def placeholders(template: object) -> Iterator[tuple[str, str | None]]:
    """Yield (path, filter) of every placeholder in a text, or in the texts of an object or array."""
    if isinstance(template, str):
        for found in _PLACEHOLDER.finditer(template):
            yield found.group(1), found.group(2)
    elif (entries := as_object(template)) is not None:
        for entry in entries.values():
            yield from placeholders(entry)
    elif (listed := as_list(template)) is not None:
        for entry in listed:
            yield from placeholders(entry)


def fill(template: object, scope: Mapping[str, object]) -> object:
    """Return `template` with its placeholders replaced.

    A text that is one placeholder and nothing else becomes that value itself, so that numbers and objects
    keep their type. Raises TemplateError.
    """
    if isinstance(template, str):
        alone = _PLACEHOLDER.fullmatch(template)
        if alone:
            return _value(alone.group(1), alone.group(2), scope)
        return _PLACEHOLDER.sub(lambda found: _text(_value(found.group(1), found.group(2), scope)), template)
    if (entries := as_object(template)) is not None:
        return {key: fill(entry, scope) for key, entry in entries.items()}
    if (listed := as_list(template)) is not None:
        return [fill(entry, scope) for entry in listed]
    return template


def look_up(path: str, scope: object) -> object:
    """Return the value at a dotted path ("items.0.name"); raises KeyError where there is none."""
    here = scope
    for step in path.split("."):
        entries, listed = as_object(here), as_list(here)
        if entries is not None and step in entries:
            here = entries[step]
        elif listed is not None and step.isdecimal() and int(step) < len(listed):
            here = listed[int(step)]
        else:
            raise KeyError(path)
    return here


def _value(path: str, name: str | None, scope: Mapping[str, object]) -> object:
    try:
        value = look_up(path, dict(scope))
    except KeyError:
        raise TemplateError(f"there is no value for {{{path}}}") from None
    if name is None:
        return value
    try:
        return FILTERS[name](_text(value))
    except ValueError:
        raise TemplateError(f"{{{path}|{name}}} can't take the value {value!r}") from None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)
