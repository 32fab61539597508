"""The OpenAPI document is valid and says exactly what the app serves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from functions import bodies
from functions.openapi import document
from functions.routes import OPERATIONS
from functions.routes.operation import Access

REPOSITORY = Path(__file__).resolve().parents[3]
# get_functions() works once a process, so the app is indexed in one of its own.
INDEX = """
import json, function_app
found = []
for function in function_app.app.get_functions():
    for binding in function.get_bindings_dict()["bindings"]:
        if binding["type"] == "httpTrigger":
            found.append({
                "name": function.get_function_name(),
                "route": binding["route"],
                "methods": [method.value for method in binding["methods"]],
                "level": binding["authLevel"].value,
            })
print(json.dumps(found))
"""


def indexed(api_auth: str) -> dict[str, dict[str, Any]]:
    ran = subprocess.run(
        [sys.executable, "-c", INDEX],
        cwd=REPOSITORY,
        env={"PATH": "", "API_AUTH": api_auth},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return {function["name"]: function for function in json.loads(ran.stdout)}


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(document()).validate()  # type: ignore[arg-type]  # its own JSON types
    json.dumps(document())


def test_the_document_has_every_route_of_the_app_and_no_other() -> None:
    prefix = json.loads((REPOSITORY / "host.json").read_text())["extensions"]["http"]["routePrefix"]
    served = {
        (f"/{prefix}/{function['route']}", method.lower(), function["name"])
        for function in indexed("function_key").values()
        for method in function["methods"]
    }
    paths: Any = document()["paths"]
    described = {
        (path, method, operation["operationId"])
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    assert served == described


@pytest.mark.parametrize("api_auth", ["function_key", "easy_auth"])
def test_keys_are_asked_for_by_the_host_where_keys_are_used(api_auth: str) -> None:
    functions = indexed(api_auth)
    for operation in OPERATIONS:
        by_key = operation.access is Access.APPLICATION and api_auth == "function_key"
        assert functions[operation.name]["level"] == ("function" if by_key else "anonymous"), operation.name


def test_every_body_that_is_named_exists() -> None:
    for operation in OPERATIONS:
        for name in (operation.request, *(answer.body for answer in operation.answers)):
            assert not name or name == "Document" or hasattr(bodies, name), f"{operation.name}: {name}"


def test_no_two_operations_share_a_path_and_method() -> None:
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)
