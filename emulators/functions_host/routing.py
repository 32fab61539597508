"""ASP.NET Core route templates, matched in the order of function names.

`{id}`, `{id?}`, `{id=5}`, `{*rest}` and stacked constraints (`{id:int:min(1)}`). Literals
compare without case. The first function by name whose route and method match wins, so an
`items/{id}` may shadow `items/search`, as it does in Azure: use constraints.
Source: the Functions host's `WebJobsRouteBuilder.cs`, `FunctionMetadataManager.cs`, `ScriptHost.cs`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from urllib.parse import unquote

from emulators.functions_host.app_model import AppLoadError, Function

ALL_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"})
RESERVED = ("admin", "runtime")
_PARAMETER = re.compile(r"\{(\*{0,2})([A-Za-z_][\w-]*)((?::[^:={}?]+(?:\([^)]*\))?)*)(?:=([^{}]*))?(\?)?\}")


@dataclass(frozen=True, kw_only=True)
class Route:
    """A function's route: pattern over the decoded segments and accepted methods."""

    function: Function
    template: str
    methods: frozenset[str]
    pattern: re.Pattern[str]
    constraints: Mapping[str, Sequence[Callable[[str], bool]]]
    defaults: Mapping[str, str]

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the route values of a decoded path (no leading slash), None if it does not match."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        values = {_name(k): v for k, v in found.groupdict().items() if v}
        for name, value in values.items():
            if not all(check(value) for check in self.constraints.get(name, ())):
                return None
        return {**self.defaults, **values}


class Router:
    """All HTTP functions of an app."""

    def __init__(self, functions: Sequence[Function], prefix: str) -> None:
        """Build the routes. Raises AppLoadError for reserved, conflicting or malformed ones."""
        ordered = sorted(functions, key=lambda f: f.name.casefold())
        self.routes = [_route(f, prefix) for f in ordered]
        for index, route in enumerate(self.routes):
            for earlier in self.routes[:index]:
                shared = earlier.methods & route.methods
                if shared and earlier.template.casefold() == route.template.casefold():
                    raise AppLoadError(
                        f"The route '{route.template}' of function {route.function.name} conflicts with that "
                        f"of {earlier.function.name}: both answer {', '.join(sorted(shared))}."
                    )

    def resolve(self, method: str, raw_path: str) -> tuple[Function, Mapping[str, str]] | None:
        """Find the function for a request (path still percent-encoded), None: not found."""
        path = decode_path(raw_path)
        for route in self.routes:
            if method in route.methods:
                values = route.match(path)
                if values is not None:
                    return route.function, values
        return None


def decode_path(raw_path: str) -> str:
    """Decode a path without its slashes at both ends; an encoded slash stays encoded, as in ASP.NET."""
    return unquote(re.sub("%2[fF]", "%252F", raw_path)).strip("/")


def _route(function: Function, prefix: str) -> Route:
    trigger = function.trigger
    route = str(trigger.get("route") or function.name).strip("/")
    template = f"{prefix}/{route}".strip("/")
    if template.split("/")[0].casefold() in RESERVED:
        raise AppLoadError(
            f"The route '{template}' of function {function.name} begins with one of the reserved words "
            f"{', '.join(RESERVED)}."
        )
    methods = cast("Sequence[str] | None", trigger.get("methods"))
    constraints: dict[str, list[Callable[[str], bool]]] = {}
    defaults: dict[str, str] = {}
    segments = [_segment(s, function.name, constraints, defaults) for s in template.split("/")]
    return Route(
        function=function,
        template=template,
        methods=frozenset(m.upper() for m in methods) if methods else ALL_METHODS,
        pattern=re.compile(_join(segments), re.IGNORECASE | re.DOTALL),
        constraints=constraints,
        defaults=defaults,
    )


def _join(segments: Sequence[tuple[str, bool]]) -> str:
    """Join segment patterns; the slash before an optional one is optional with it."""
    joined = ""
    for index, (pattern, optional) in enumerate(segments):
        slash = "/" if index else ""
        joined += f"(?:{slash}{pattern})?" if optional else f"{slash}{pattern}"
    return joined


def _segment(
    segment: str,
    function_name: str,
    constraints: dict[str, list[Callable[[str], bool]]],
    defaults: dict[str, str],
) -> tuple[str, bool]:
    pattern, end, optional = "", 0, False
    for found in _PARAMETER.finditer(segment):
        pattern += re.escape(segment[end : found.start()])
        end = found.end()
        stars, name, checks, default, mark = found.groups()
        whole = found.group() == segment
        optional = whole and (bool(mark) or default is not None or bool(stars))
        if default is not None:
            defaults[name] = default
        constraints.setdefault(name, []).extend(_constraints(checks, function_name))
        pattern += f"(?P<{_group(name)}>{'.*' if stars else '[^/]+' if whole else '[^/]+?'})"
    rest = segment[end:]
    if "{" in rest or "}" in rest:
        raise AppLoadError(f"The route of function {function_name} is malformed at '{segment}'.")
    return pattern + re.escape(rest), optional


def _group(name: str) -> str:
    """Group names may not hold a hyphen, parameter names may."""
    return name.replace("-", "__hyphen__")


def _name(group: str) -> str:
    return group.replace("__hyphen__", "-")


def _constraints(text: str, function_name: str) -> Sequence[Callable[[str], bool]]:
    return [
        _constraint(name, argument, function_name)
        for name, argument in re.findall(r":([^:({}?=]+)(?:\(([^)]*)\))?", text)
    ]


def _constraint(name: str, argument: str, function_name: str) -> Callable[[str], bool]:
    numbers = [int(n) for n in re.findall(r"-?\d+", argument)]
    simple: Mapping[str, Callable[[str], bool]] = {
        "int": lambda v: _parses(int, v) and -(2**31) <= int(v) < 2**31,
        "long": lambda v: _parses(int, v) and -(2**63) <= int(v) < 2**63,
        "bool": lambda v: v.lower() in ("true", "false"),
        "guid": lambda v: _parses(uuid.UUID, v),
        "datetime": lambda v: _parses(datetime.fromisoformat, v),
        "decimal": lambda v: _parses(float, v),
        "double": lambda v: _parses(float, v),
        "float": lambda v: _parses(float, v),
        "alpha": lambda v: re.fullmatch("[A-Za-z]*", v) is not None,
        "required": lambda v: v != "",
    }
    key = name.strip().lower()
    if key in simple:
        return simple[key]
    match key, numbers:
        case "regex", _:
            expression = re.compile(argument.replace("{{", "{").replace("}}", "}"), re.IGNORECASE)
            return lambda v: expression.search(v) is not None
        case "length", [exact]:
            return lambda v: len(v) == exact
        case "length", [low, high]:
            return lambda v: low <= len(v) <= high
        case "minlength", [low]:
            return lambda v: len(v) >= low
        case "maxlength", [high]:
            return lambda v: len(v) <= high
        case "min", [low]:
            return lambda v: _parses(int, v) and int(v) >= low
        case "max", [high]:
            return lambda v: _parses(int, v) and int(v) <= high
        case "range", [low, high]:
            return lambda v: _parses(int, v) and low <= int(v) <= high
        case _:
            raise AppLoadError(f"The route of function {function_name} has an unknown constraint '{name}'.")


def _parses(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True
