"""What @tool makes of a function, and what it refuses."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from datetime import date
from typing import Annotated, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field

from shared.session.log import ToolExecution
from shared.tools import ToolContext, ToolDefinitionError, tool


class Colour(enum.StrEnum):
    """What it looks like."""

    RED = "red"
    BLUE = "blue"


class Line(BaseModel):
    title: str = Field(description="What it is called.")
    amount: int = 1


class Order(BaseModel):
    """An order as one model."""

    lines: list[Line]
    colour: Colour = Colour.RED


class Node(BaseModel):
    children: list[Node] = []


@tool(execution="durable", idempotent=True, timeout_s=12, max_result_bytes=99)
async def order_things(
    schema: Annotated[str, Field(description="A name that pydantic has a method for.", min_length=2)],
    copy: int,
    lines: list[Line],
    context: ToolContext,
    colour: Annotated[Colour, Field(description="Which one.")] = Colour.BLUE,
    when: date | None = None,
    kind: Literal["a", "b"] = "a",
) -> str:
    """Order things.

    More about it.
    """
    return f"{schema} {copy} {context.agent}"


def test_the_decorator_keeps_what_was_declared() -> None:
    assert order_things.name == "order_things"
    assert order_things.description == "Order things.\n\nMore about it."
    assert order_things.execution is ToolExecution.DURABLE
    assert (order_things.idempotent, order_things.timeout_s, order_things.max_result_bytes) == (True, 12, 99)
    assert order_things.is_async


def test_the_schema_is_flat_closed_and_without_references() -> None:
    schema = order_things.function_schema()
    assert set(schema) == {"type", "name", "description", "parameters"}
    assert schema["type"] == "function"
    parameters = order_things.parameters
    jsonschema.Draft202012Validator.check_schema(dict(parameters))
    text = json.dumps(parameters)
    assert "$ref" not in text
    assert "$defs" not in text
    assert "argument_" not in text
    assert "context" not in text
    assert parameters["required"] == ["schema", "copy", "lines"]
    assert parameters["additionalProperties"] is False
    properties = parameters["properties"]
    assert isinstance(properties, dict)
    assert properties["schema"] == {
        "type": "string",
        "minLength": 2,
        "description": "A name that pydantic has a method for.",
    }
    assert properties["colour"] == {
        "type": "string",
        "enum": ["red", "blue"],
        "description": "Which one.",
        "default": "blue",
    }
    # A property called `title` is a property, not a title to be dropped.
    assert properties["lines"] == {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "title": {"type": "string", "description": "What it is called."},
                "amount": {"type": "integer", "default": 1},
            },
            "required": ["title"],
            "additionalProperties": False,
        },
    }


def test_one_pydantic_model_is_flattened() -> None:
    @tool()
    def place(order: Order, context: ToolContext) -> None:
        """Place it."""

    properties = place.parameters["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == {"lines", "colour"}
    assert place.parameters["additionalProperties"] is False


def test_a_recursive_model_keeps_its_definition() -> None:
    @tool()
    def plant(node: Node, depth: int) -> None:
        """Plant a tree."""

    schema = dict(plant.parameters)
    jsonschema.validate({"node": {"children": [{"children": []}]}, "depth": 1}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"node": {"children": [{"other": 1}]}, "depth": 1}, schema)


def test_no_parameters_make_an_empty_closed_object() -> None:
    @tool()
    def ping() -> str:
        """Ping."""
        return "pong"

    assert ping.parameters == {"type": "object", "properties": {}, "additionalProperties": False}
    assert ping() == "pong"


def test_defaults_by_execution() -> None:
    def plain() -> None:
        """Plain."""

    assert tool()(plain).timeout_s == 5
    assert tool(execution="durable")(plain).timeout_s == 60
    assert tool(name="other", description="Told.")(plain).function_schema() == {
        "type": "function",
        "name": "other",
        "description": "Told.",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    }


def no_docstring() -> None: ...


def no_type(a) -> None:  # type: ignore[no-untyped-def]
    """Do it."""


def starred(*a: int) -> None:
    """Do it."""


def positional(a: int, /) -> None:
    """Do it."""


def field_default(a: int = Field(default=3)) -> None:
    """Do it."""


def two_contexts(a: ToolContext, b: ToolContext) -> None:
    """Do it."""


def not_describable(a: Callable[[], int]) -> None:
    """Do it."""


def arbitrary(a: object, b: ToolDefinitionError) -> None:
    """Do it."""


def unknown_type(a: NoSuchType) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Do it."""


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (no_docstring, "needs a docstring"),
        (no_type, 'the parameter a needs a type, such as "a: str"'),
        (starred, "the parameter a must be a plain one"),
        (positional, "the parameter a must be a plain one"),
        (field_default, "write a as Annotated"),
        (two_contexts, "only one parameter can be the ToolContext"),
        (not_describable, "can't be described to a model"),
        (arbitrary, "can't be described to a model"),
        (unknown_type, "a type of its parameters can't be found"),
        (Line, "plain function"),
    ],
)
def test_what_a_model_could_not_call_is_refused(function: Callable[..., object], told: str) -> None:
    with pytest.raises(ToolDefinitionError) as caught:
        tool()(function)
    assert told in caught.value.detail
    assert caught.value.code == "tool_invalid"


def test_a_refusal_says_where_the_function_is() -> None:
    with pytest.raises(ToolDefinitionError) as caught:
        tool()(starred)
    assert caught.value.file == __file__
    assert caught.value.line == starred.__code__.co_firstlineno


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout_s": 0}, "timeout_s is a number of seconds above 0"),
        ({"timeout_s": float("inf")}, "timeout_s is a number of seconds above 0"),
        ({"timeout_s": 31}, 'Use execution="durable"'),
        ({"max_result_bytes": 0}, "max_result_bytes"),
        ({"max_result_bytes": 1_000_000}, "max_result_bytes"),
        ({"execution": "sometimes"}, '"inline" or "durable"'),
        ({"name": "no spaces"}, "its name is"),
        ({"description": "x" * 1025}, "at most 1024"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], told: str) -> None:
    def plain() -> None:
        """Plain."""

    with pytest.raises(ToolDefinitionError, match="plain") as caught:
        tool(**options)(plain)  # type: ignore[arg-type]
    assert told in caught.value.detail
