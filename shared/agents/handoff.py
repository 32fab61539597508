"""Handing the call to another agent: the tool that is made for it, and the contract of what is told along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from shared.session.model import FactValue
from shared.tools.json_schema import closed_schema
from shared.tools.parameters import ArgumentReader

PREFIX = "handoff_to_"
# What is told along goes into the next agent's prompt, and into every record of who speaks.
MAX_TEXT = 500

_TYPES: Mapping[str, type[FactValue]] = {"string": str, "integer": int, "number": float, "boolean": bool}
# Fields are named apart from their aliases, so that one may be called `json` or `copy`.
_FIELD = "argument_"


@dataclass(frozen=True, kw_only=True)
class ContextField:
    """Something that the model tells along. choices, pattern: of texts."""

    type: Literal["string", "integer", "number", "boolean"] = "string"
    description: str = ""
    required: bool = True
    choices: tuple[str, ...] = ()
    pattern: str = ""


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """An agent may hand the call to another one.

    to: the agent that takes over. description: tells the model when, beside what that agent's own says.
    requires: facts that must be known first, also those that the agent itself requires.
    announce: what is said when it takes over, word for word; "" for a silent handoff.
    """

    to: str
    description: str
    requires: tuple[str, ...] = ()
    announce: str = ""
    context: Mapping[str, ContextField] = field(default_factory=dict[str, ContextField])
    reader: ArgumentReader = field(repr=False)

    @property
    def tool_name(self) -> str:
        return tool_name(self.to)

    def function_schema(self) -> dict[str, object]:
        """Return the entry for the `tools` of a Realtime session."""
        return {
            "type": "function",
            "name": self.tool_name,
            "description": self.description,
            "parameters": dict(self.reader.schema),
        }

    def read(self, arguments_json: str) -> dict[str, FactValue]:
        """Return what the model tells along, as the contract has it; raises InvalidArgumentsError."""
        told = self.reader.read(arguments_json)
        return {name: value for name, value in told.items() if isinstance(value, str | int | float | bool)}


def tool_name(to: str) -> str:
    """Return the name of the tool that hands the call to the agent `to`."""
    return PREFIX + to.replace("-", "_")


def contract_reader(context: Mapping[str, ContextField]) -> ArgumentReader:
    """Return what reads and checks a context, and its JSON schema for the model."""
    fields: dict[str, object] = {}
    for name, declared in context.items():
        kind: object = _TYPES[declared.type]
        if declared.choices:
            kind = Literal[declared.choices]
        told = Field(
            alias=name,
            description=declared.description or None,
            pattern=declared.pattern or None,
            max_length=MAX_TEXT if declared.type == "string" and not declared.choices else None,
        )
        optional = kind if declared.required else (kind | None)  # type: ignore[operator]  # types at run time
        fields[_FIELD + name] = (Annotated[optional, told], ... if declared.required else None)
    model: type[BaseModel] = create_model(  # pyright: ignore[reportCallIssue, reportUnknownVariableType]  the fields are data
        "Context",
        __config__=ConfigDict(extra="forbid", coerce_numbers_to_str=True),
        **fields,  # pyright: ignore[reportArgumentType]
    )
    return ArgumentReader(model=model, schema=closed_schema(model.model_json_schema()))
