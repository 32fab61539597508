"""A YAML file of the agents directory, read and checked against its model: what its kinds have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.agents.problems import Problem
from shared.agents.yaml_source import YamlDocument, YamlSourceError, read_yaml

ModelT = TypeVar("ModelT", bound=BaseModel)


def read_definition(
    file: Path,
    model: type[ModelT],
    *,
    explain: Callable[[ErrorDetails, YamlDocument, Path], Problem],
    refuse: Callable[[Iterable[Problem]], Exception],
) -> tuple[ModelT, YamlDocument]:
    """Return what `file` says, and where it says it.

    Raises what `refuse` makes of all that is wrong with it; `explain` puts what the model refused in the
    words of this kind of file.
    """
    try:
        document = read_yaml(file.read_bytes())
    except YamlSourceError as error:
        raise refuse(
            Problem(file=file, line=found.line, field=found.field, message=found.message)
            for found in error.problems
        ) from error
    try:
        return model.model_validate(document.data), document
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise refuse(explain(details, document, file) for details in found) from error
