"""From pydantic's JSON schema to the plain, closed kind that models read best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

_DEFINITIONS = "#/$defs/"
# Keywords whose value is data or names, not schemas.
_DATA = frozenset({"enum", "const", "default", "examples", "required"})
# Keywords whose value maps names to schemas.
_NAMED = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas"})
# `discriminator` is OpenAPI's and points into $defs; titles repeat the names.
_DROPPED = frozenset({"title", "discriminator"})


def closed_schema(schema: Mapping[str, object]) -> dict[str, object]:
    """Return `schema` of an object closed at every level, without titles, with definitions inlined.

    Definitions that contain themselves stay in `$defs`.
    """
    definitions = schema.get("$defs", {})
    named = definitions if _is_object(definitions) else {}
    recursive = {name for name in named if name in _reachable(name, named)}
    body = {key: value for key, value in schema.items() if key != "$defs"}
    result = _schema(body, named, recursive)
    if recursive:
        result["$defs"] = {name: _schema(named[name], named, recursive) for name in sorted(recursive)}
    result.setdefault("properties", {})
    result["additionalProperties"] = False
    return result


def _schema(node: object, named: Mapping[str, object], recursive: set[str]) -> dict[str, object]:
    if not _is_object(node):
        return {}
    reference = _referenced(node)
    if reference and reference not in recursive and reference in named:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return {**_schema(named[reference], named, recursive), **_schema(beside, named, recursive)}
    result: dict[str, object] = {}
    for key, value in node.items():
        if key in _DROPPED:
            continue
        if key in _DATA:
            result[key] = value
        elif key in _NAMED and _is_object(value):
            result[key] = {name: _schema(entry, named, recursive) for name, entry in value.items()}
        elif _is_object(value):
            result[key] = _schema(value, named, recursive)
        elif isinstance(value, list):
            result[key] = [
                _schema(entry, named, recursive) if _is_object(entry) else entry for entry in value
            ]
        else:
            result[key] = value
    if "properties" in result:
        result.setdefault("additionalProperties", False)
    return result


def _reachable(name: str, named: Mapping[str, object]) -> set[str]:
    found: set[str] = set()
    waiting = [named[name]]
    while waiting:
        node = waiting.pop()
        if _is_object(node):
            reference = _referenced(node)
            if reference and reference in named and reference not in found:
                found.add(reference)
                waiting.append(named[reference])
            waiting.extend(value for key, value in node.items() if key not in _DATA)
        elif isinstance(node, list):
            waiting.extend(node)
    return found


def _referenced(node: Mapping[str, object]) -> str:
    reference = node.get("$ref")
    return reference.removeprefix(_DEFINITIONS) if isinstance(reference, str) else ""


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)
