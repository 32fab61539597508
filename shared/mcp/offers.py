"""From what an MCP server lists to what the realtime model is offered: names, descriptions, schemas.

What the model's functions can't take is refused with a reason, tool by tool, and the rest is used. Limits of
names and schemas: OpenAI's function calling (flat `tools` entries of a Realtime session); MCP, tools.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic_core import to_json

from shared.mcp.plain_text import plain
from shared.mcp.server import McpServer
from shared.tools.definition import MAX_DESCRIPTION

LONGEST_NAME = 64
# A schema is part of every response's input and billed with it.
MAX_SCHEMA_BYTES = 16_384
MAX_DEPTH = 24

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_ABOUT_THE_SCHEMA = frozenset({"$schema", "$id", "title"})
_NOT_AT_THE_TOP = ("oneOf", "anyOf", "allOf", "enum", "not", "if", "const")


@dataclass(frozen=True, kw_only=True)
class ListedTool:
    """A tool as its server describes it; the two flags are the server's word and no more."""

    name: str
    description: str
    schema: Mapping[str, object]
    idempotent: bool = False
    reads_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A tool that an agent gets: under the name that the model sees, with what is left for it to fill in.

    tool: the server's name of it. schema: as the server wants it; parameters: as the model sees it.
    """

    name: str
    tool: str
    description: str
    schema: Mapping[str, object]
    parameters: Mapping[str, object]
    repeatable: bool


@dataclass(frozen=True, kw_only=True)
class NotOffered:
    """A tool that is allowed and can't be offered; `reason` is a sentence for whoever runs the agent."""

    tool: str
    reason: str


def offers_of(server: McpServer, listed: Iterable[ListedTool]) -> tuple[list[Offer], list[NotOffered]]:
    """Return what `server` offers to the agent that names it, and what it can't."""
    offers: dict[str, Offer] = {}
    refused: list[NotOffered] = []
    for tool in listed:
        if not server.allows(tool.name):
            continue
        name = offered_name(server, tool.name)
        reason = _name_problem(name, offers) or _schema_problem(tool.schema)
        if reason:
            refused.append(NotOffered(tool=tool.name, reason=reason))
            continue
        offers[name] = Offer(
            name=name,
            tool=tool.name,
            description=_description(tool),
            schema=tool.schema,
            parameters=_left_for_the_model(tool.schema, server.arguments),
            repeatable=server.may_repeat(tool.name, idempotent=tool.idempotent, reads_only=tool.reads_only),
        )
    return list(offers.values()), refused


def offered_name(server: McpServer, tool: str) -> str:
    """Return the name under which the model sees the server's tool: billing__get_invoice."""
    return f"{server.name}__{_NOT_IN_NAMES.sub('_', tool)}"


def _name_problem(name: str, taken: Mapping[str, Offer]) -> str:
    if len(name) > LONGEST_NAME:
        return f"its name would be {name}, {len(name)} characters; the model's functions take {LONGEST_NAME}."
    if name in taken:
        return f"its name would be {name}, as that of {taken[name].tool}."
    return ""


def _schema_problem(schema: Mapping[str, object]) -> str:
    """Return why the realtime model's function schema can't take this one, or ""."""
    if schema.get("type") != "object":
        return 'its input schema must be of "type": "object".'
    if found := [keyword for keyword in _NOT_AT_THE_TOP if keyword in schema]:
        return f"its input schema has {', '.join(found)} at the top level, which functions can't have."
    size = len(to_json(schema))
    if size > MAX_SCHEMA_BYTES:
        return f"its input schema has {size} bytes; {MAX_SCHEMA_BYTES} at most."
    if not _within_depth(schema, MAX_DEPTH):
        return f"its input schema is nested more than {MAX_DEPTH} levels deep."
    if outside := next(_outside_references(schema), ""):
        return f"its input schema refers to {outside[:80]}, outside of itself."
    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        return f"its input schema is no valid JSON Schema: {error.message[:200]}."
    return ""


def _within_depth(node: object, levels: int) -> bool:
    if levels < 0:
        return False
    if _is_object(node):
        return all(_within_depth(value, levels - 1) for value in node.values())
    return not _is_list(node) or all(_within_depth(value, levels - 1) for value in node)


def _outside_references(node: object) -> Iterator[str]:
    if _is_object(node):
        for keyword in ("$ref", "$dynamicRef"):
            reference = node.get(keyword)
            if isinstance(reference, str) and not reference.startswith("#"):
                yield reference
    inside = node.values() if _is_object(node) else node if _is_list(node) else ()
    for value in inside:
        yield from _outside_references(value)


def _left_for_the_model(schema: Mapping[str, object], filled_in: Mapping[str, str]) -> dict[str, object]:
    """Return the schema without the arguments that the session fills in.

    References stay as they are: schemas that others write can be made to grow without end by inlining.
    """
    left = {keyword: value for keyword, value in schema.items() if keyword not in _ABOUT_THE_SCHEMA}
    properties, required = left.get("properties"), left.get("required")
    left["properties"] = (
        {name: value for name, value in properties.items() if name not in filled_in}
        if _is_object(properties)
        else {}
    )
    if _is_list(required):
        left["required"] = [name for name in required if name not in filled_in]
    return left


def _description(tool: ListedTool) -> str:
    text, _ = plain(tool.description)
    return text.strip()[:MAX_DESCRIPTION] or tool.name


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)
