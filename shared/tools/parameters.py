"""A tool's parameters: from the function's signature to a JSON schema, and from JSON text to arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol, cast, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError

from shared.tools.json_schema import closed_schema

# Fields are named apart from the parameters (which are their aliases), so that a parameter may be
# called `json`, `copy` or `schema` without meeting a method of BaseModel.
_FIELD = "argument_"


class UnusableParametersError(Exception):
    """The signature can't be offered to a model; the text says why and what to write instead."""


@dataclass(frozen=True, kw_only=True)
class ArgumentProblem:
    """One thing wrong with the arguments of a call. `field` is a dotted path, "" for the whole."""

    field: str
    problem: str


class InvalidArgumentsError(Exception):
    """The model's arguments do not fit the schema."""

    def __init__(self, problems: list[ArgumentProblem]) -> None:
        super().__init__(f"{len(problems)} problem(s) with the arguments")
        self.problems = problems


class ReadsArguments(Protocol):
    """From the model's JSON text to the keyword arguments of a tool's function."""

    def read(self, arguments_json: str) -> dict[str, object]:
        """Return the keyword arguments; raise InvalidArgumentsError with all that is wrong."""
        ...


@dataclass(frozen=True, kw_only=True)
class ArgumentReader:
    """Reads the arguments of one tool.

    whole: the name of the one parameter that takes the whole model; "" where each field is a parameter.
    """

    model: type[BaseModel]
    schema: Mapping[str, object]
    whole: str = ""

    def read(self, arguments_json: str) -> dict[str, object]:
        """Return the keyword arguments that the model's JSON text means; raise InvalidArgumentsError.

        Types are read leniently, as suits a language model: "10" passes for 10, and 1042 for "1042".
        """
        try:
            found = self.model.model_validate_json(arguments_json.strip() or "{}")
        except ValidationError as error:
            raise InvalidArgumentsError(_problems_of(error)) from error
        if self.whole:
            return {self.whole: found}
        return {name.removeprefix(_FIELD): getattr(found, name) for name in type(found).model_fields}


def read_parameters(
    function: Callable[..., object], hints: Mapping[str, object], *, leave_out: Container[str] = ()
) -> ArgumentReader:
    """Return the reader for the parameters of `function`, without those in `leave_out`.

    hints: the function's resolved annotations. Raises UnusableParametersError.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in leave_out
    }
    for name, parameter in parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UnusableParametersError(
                f"the parameter {name} must be a plain one: a model can fill neither *args and **kwargs "
                "nor positional-only parameters."
            )
        if name not in hints:
            raise UnusableParametersError(f'the parameter {name} needs a type, such as "{name}: str".')
        if isinstance(parameter.default, FieldInfo):
            raise UnusableParametersError(
                f"write {name} as Annotated[<type>, Field(…)], and a default after the equals sign."
            )
    only = next(iter(parameters.values()), None)
    if only is not None and len(parameters) == 1 and _is_model(hints[only.name]):
        given = cast("type[BaseModel]", hints[only.name])
        model = create_model(
            given.__name__, __base__=given, __cls_kwargs__={"extra": "forbid", "coerce_numbers_to_str": True}
        )
        return ArgumentReader(model=model, schema=_schema(model), whole=only.name)
    fields = {_FIELD + name: _field(parameter, hints[name]) for name, parameter in parameters.items()}
    try:
        model = create_model(  # pyright: ignore[reportCallIssue, reportUnknownVariableType]  the fields are data
            "Arguments",
            __config__=ConfigDict(
                extra="forbid",
                coerce_numbers_to_str=True,
                arbitrary_types_allowed=False,
                validate_default=False,
            ),
            **fields,  # pyright: ignore[reportArgumentType]
        )
    except (PydanticUserError, SchemaError, TypeError) as error:
        raise UnusableParametersError(
            f"its parameters can't be described to a model: {_first_line(error)}"
        ) from error
    checked = cast("type[BaseModel]", model)
    return ArgumentReader(model=checked, schema=_schema(checked))


def _field(parameter: inspect.Parameter, hint: object) -> tuple[object, FieldInfo]:
    default: object = ... if parameter.default is inspect.Parameter.empty else parameter.default
    return Annotated[hint, Field(alias=parameter.name)], cast("FieldInfo", Field(default=default))


def _is_model(hint: object) -> bool:
    return get_origin(hint) is None and isinstance(hint, type) and issubclass(hint, BaseModel)


def _schema(model: type[BaseModel]) -> dict[str, object]:
    try:
        return closed_schema(model.model_json_schema())
    except PydanticUserError as error:
        raise UnusableParametersError(
            f"its parameters can't be described to a model: {_first_line(error)}"
        ) from error


def _problems_of(error: ValidationError) -> list[ArgumentProblem]:
    problems: list[ArgumentProblem] = []
    for found in error.errors(include_url=False, include_input=False, include_context=False):
        match found["type"]:
            case "missing":
                problem = "is required"
            case "extra_forbidden":
                problem = "is not a parameter of this tool; leave it out"
            case "json_invalid":
                problem = f"the arguments are not valid JSON: {found['msg'].removeprefix('Invalid JSON: ')}"
            case "model_type" if not found["loc"]:
                problem = "the arguments must be one JSON object"
            case _:
                problem = found["msg"].removeprefix("Value error, ")
        problems.append(ArgumentProblem(field=".".join(str(part) for part in found["loc"]), problem=problem))
    return problems


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
