"""Import a function app and index its functions, with the checks of the Python worker.

Source of the rules: `azure_functions_runtime` (loader.py, functions.py), Microsoft's worker
library. One wrong function fails the whole app, as it does in Azure.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import cast

from emulators.functions_host.app_model import AppLoadError, Function

_SCRIPT_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_\-]*\.py")
IMPLICIT_OUTPUT = frozenset({"activityTrigger", "orchestrationTrigger", "entityTrigger"})
GENERIC = "generic"


@dataclass(frozen=True, kw_only=True)
class IndexedFunction:
    """A function ready to be called: which converter serves which parameter."""

    function: Function
    call: Callable[..., object]
    is_async: bool
    wants_context: bool
    inputs: Mapping[str, str]
    """Parameter -> converter (a binding type, or `generic`)."""
    outputs: Mapping[str, str]
    """`func.Out` parameter -> converter."""
    return_converter: str | None


def script_path(app_dir: Path) -> Path:
    """Return the app's script, by default function_app.py. Raises AppLoadError."""
    script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
    if not _SCRIPT_NAME.fullmatch(script):
        raise AppLoadError(f"PYTHON_SCRIPT_FILE_NAME={script!r} is not a plain name such as function_app.py.")
    if not (app_dir / script).is_file():
        raise AppLoadError(f"There is no {script} in {app_dir}: is this the root of a function app?")
    return app_dir / script


def load_app(app_dir: Path) -> Sequence[IndexedFunction]:
    """Import the app's script and index it. Raises AppLoadError."""
    script = script_path(app_dir).name
    try:
        module = importlib.import_module(Path(script).stem)
        return [_index(function) for function in _functions_of(module, script)]
    except AppLoadError:
        raise
    except Exception as error:
        raise AppLoadError(
            f"The function app does not load: {type(error).__name__}: {error}",
            user_trace=user_frames(error, app_dir),
        ) from error


def user_frames(error: BaseException, app_dir: Path) -> str:
    """Format a traceback with the frames of the app's own files only."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(app_dir) and "site-packages" not in frame.filename
    ]
    return "".join([*traceback.format_list(own), *traceback.format_exception_only(error)])


def _functions_of(module: ModuleType, script: str) -> Sequence[object]:
    from azure.functions import FunctionRegister

    apps = [value for value in vars(module).values() if isinstance(value, FunctionRegister)]
    if not apps:
        raise AppLoadError(f"Could not find top level function app instances in {script}.")
    if len(apps) > 1:
        raise AppLoadError(
            f"More than one {type(apps[0]).__name__} or other top level function app instances are in "
            f"{script} (a second name for the same object counts too)."
        )
    return apps[0].get_functions()


def _index(function: object) -> IndexedFunction:
    described = cast("_SdkFunction", function)
    name = described.get_function_name()
    call = described.get_user_function()
    bindings = [_plain(b.get_dict_repr()) for b in described.get_bindings()]
    parameters = list(inspect.signature(call).parameters)
    annotations = typing.get_type_hints(call)
    bound = {str(b["name"]): b for b in bindings if b["name"] != "$return"}
    wants_context = "context" in parameters and "context" not in bound
    if wants_context:
        parameters.remove("context")
        annotation = annotations.get("context")
        if annotation is not None and getattr(annotation, "__name__", "") != "Context":
            raise _error(
                name,
                f'the "context" parameter is expected to be an azure.functions.Context, not {annotation!r}',
            )
    if extra := set(parameters) - set(bound):
        raise _error(
            name, f"the following parameters are declared in Python but not as bindings: {sorted(extra)}"
        )
    if missing := set(bound) - set(parameters):
        raise _error(
            name, f"the following bindings are not parameters of the Python function: {sorted(missing)}"
        )
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    for parameter in parameters:
        is_out = str(bound[parameter].get("direction")) == "OUT"
        converter = _converter_for(name, parameter, bound[parameter], annotations, is_out=is_out)
        (outputs if is_out else inputs)[parameter] = converter
    return IndexedFunction(
        function=Function(name=name, bindings=bindings),
        call=call,
        is_async=inspect.iscoroutinefunction(call),
        wants_context=wants_context,
        inputs=inputs,
        outputs=outputs,
        return_converter=_return_converter(name, bindings, annotations),
    )


def _converter_for(
    name: str,
    parameter: str,
    binding: Mapping[str, object],
    annotations: Mapping[str, object],
    *,
    is_out: bool,
) -> str:
    from azure.functions import Out

    binding_type = str(binding["type"])
    if parameter not in annotations:
        return binding_type
    annotation = annotations[parameter]
    declared_out = typing.get_origin(annotation) is Out
    if is_out != declared_out:
        wanted = "azure.functions.Out[...]" if is_out else "not azure.functions.Out[...]"
        raise _error(
            name, f"the annotation of {parameter!r} must be {wanted}, its binding's direction says so"
        )
    python_type = typing.get_args(annotation)[0] if declared_out else annotation
    if not isinstance(python_type, type) and typing.get_origin(python_type) is None:
        raise _error(name, f"binding {parameter} has invalid non-type annotation {annotation!r}")
    if python_type in (str, bytes) and binding_type not in IMPLICIT_OUTPUT:
        return GENERIC
    converter = registered_converter(binding_type)
    check = getattr(
        converter, "check_output_type_annotation" if is_out else "check_input_type_annotation", None
    )
    if check is not None and not _accepts(check, python_type):
        raise _error(
            name,
            f'type of {parameter} binding in the decorator "{binding_type}" does not match its Python '
            f'annotation "{getattr(python_type, "__name__", python_type)}"',
        )
    return binding_type


def _accepts(check: Callable[[object], bool], python_type: object) -> bool:
    try:
        return check(python_type)
    except TypeError:  # issubclass() on a generic such as dict[str, str]
        return False


def _return_converter(
    name: str, bindings: Sequence[Mapping[str, object]], annotations: Mapping[str, object]
) -> str | None:
    explicit = next((b for b in bindings if b["name"] == "$return"), None)
    if explicit is not None:
        converter = str(explicit["type"])
        annotation = annotations.get("return")
        if annotation is not None:
            check = getattr(registered_converter(converter), "check_output_type_annotation", None)
            if not isinstance(annotation, type):
                raise _error(name, f"has invalid non-type return annotation {annotation!r}")
            if check is not None and not _accepts(check, annotation):
                raise _error(
                    name,
                    f'return annotation "{annotation.__name__}" does not match binding type "{converter}"',
                )
        return converter
    return next((str(b["type"]) for b in bindings if b["type"] in IMPLICIT_OUTPUT), None)


def registered_converter(binding_type: str) -> object | None:
    """Return the SDK's converter class for a binding type, None for types it leaves generic."""
    import azure.functions as sdk

    return cast("Callable[[str], object | None]", sdk.get_binding_registry().get)(binding_type)


def _plain(binding: Mapping[str, object]) -> dict[str, object]:
    """Enums become their names, as in the JSON that workers send; None is left out."""
    return {
        key: [_enum_name(v) for v in cast("Sequence[object]", value)]
        if isinstance(value, (list, tuple))
        else _enum_name(value)
        for key, value in binding.items()
        if value is not None
    }


def _enum_name(value: object) -> object:
    return str(value) if hasattr(value, "name") and hasattr(value, "value") else value


def _error(name: str, why: str) -> AppLoadError:
    return AppLoadError(f"cannot load the {name} function: {why}")


class _SdkBinding(typing.Protocol):
    def get_dict_repr(self) -> Mapping[str, object]: ...


class _SdkFunction(typing.Protocol):
    def get_function_name(self) -> str: ...
    def get_user_function(self) -> Callable[..., object]: ...
    def get_bindings(self) -> Sequence[_SdkBinding]: ...


def put_on_path(app_dir: Path) -> None:
    """Make the app's root importable first, as it is in Azure."""
    root = str(app_dir)
    if root in sys.path:
        sys.path.remove(root)
    sys.path.insert(0, root)
