"""The model's arguments for an MCP tool, held to the schema that the server published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from shared.tools.parameters import ArgumentProblem, InvalidArgumentsError

MAX_PROBLEMS = 5
_LONGEST_MESSAGE = 300

# Regular expressions that others write can run for ever; the server checks its own.
_Validator = extend(Draft202012Validator, {"pattern": None, "patternProperties": None})


class SchemaReader:
    """Reads the arguments of one tool; they are a JSON object that fits `parameters`."""

    def __init__(self, parameters: Mapping[str, object]) -> None:
        self._validator = _Validator(dict(parameters), registry=Registry())
        required = parameters.get("required")
        self._required: frozenset[object] = frozenset(required if _is_list(required) else ())

    def read(self, arguments_json: str) -> dict[str, object]:
        """Return {"arguments": …}; raise InvalidArgumentsError with what is wrong."""
        try:
            arguments: object = orjson.loads(arguments_json.strip() or "{}")
        except orjson.JSONDecodeError as error:
            raise _invalid("", f"the arguments are not valid JSON: {error.msg}") from error
        if not _is_object(arguments):
            raise _invalid("", "the arguments must be one JSON object")
        # What models mean by null for something that they may leave out.
        arguments = {n: value for n, value in arguments.items() if value is not None or n in self._required}
        problems: list[ArgumentProblem] = []
        try:
            for error in self._validator.iter_errors(arguments):
                problems.append(_problem(error))
                if len(problems) == MAX_PROBLEMS:
                    break
        except Unresolvable:  # a reference inside the schema that leads nowhere: the server's to mend
            return {"arguments": arguments}
        if problems:
            raise InvalidArgumentsError(problems)
        return {"arguments": arguments}


def _problem(error: ValidationError) -> ArgumentProblem:
    return ArgumentProblem(
        field=".".join(str(part) for part in error.absolute_path), problem=error.message[:_LONGEST_MESSAGE]
    )


def _invalid(field: str, problem: str) -> InvalidArgumentsError:
    return InvalidArgumentsError([ArgumentProblem(field=field, problem=problem)])


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)
