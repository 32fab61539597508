"""Route templates: what matches, which function wins, what is refused at load."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from emulators.functions_host.app_model import AppLoadError, Function
from emulators.functions_host.routing import Router


def function(name: str, route: str | None = None, *methods: str) -> Function:
    trigger: dict[str, object] = {"type": "httpTrigger", "name": "req", "direction": "IN"}
    if route is not None:
        trigger["route"] = route
    if methods:
        trigger["methods"] = list(methods)
    return Function(name=name, bindings=[trigger])


def params(route: str, path: str) -> Mapping[str, str] | None:
    found = Router([function("f", route)], "api").resolve("GET", path)
    return None if found is None else found[1]


@pytest.mark.parametrize(
    ("route", "path", "values"),
    [
        ("items", "/api/items", {}),
        ("items", "/API/Items/", {}),
        ("items", "/api/items/1", None),
        ("items/{id}", "/api/items/a%20b", {"id": "a b"}),
        ("items/{id}", "/api/items/a%2Fb", {"id": "a%2Fb"}),
        ("items/{id}", "/api/items", None),
        ("items/{id?}", "/api/items", {}),
        ("items/{id?}", "/api/items/7", {"id": "7"}),
        ("items/{id=5}", "/api/items", {"id": "5"}),
        ("items/{id=5}", "/api/items/6", {"id": "6"}),
        ("files/{*path}", "/api/files/a/b.txt", {"path": "a/b.txt"}),
        ("files/{*path}", "/api/files", {}),
        ("{name}.{ext}", "/api/photo.big.png", {"name": "photo", "ext": "big.png"}),
        ("v{version:int}/x", "/api/v2/x", {"version": "2"}),
        ("{call-id}", "/api/rtc_1", {"call-id": "rtc_1"}),
        ("a/{x:int}", "/api/a/12", {"x": "12"}),
        ("a/{x:int}", "/api/a/1.5", None),
        ("a/{x:int}", "/api/a/99999999999", None),
        ("a/{x:long}", "/api/a/99999999999", {"x": "99999999999"}),
        ("a/{x:int:min(3):max(5)}", "/api/a/4", {"x": "4"}),
        ("a/{x:int:min(3):max(5)}", "/api/a/6", None),
        ("a/{x:range(1,3)}", "/api/a/4", None),
        ("a/{x:alpha}", "/api/a/abc", {"x": "abc"}),
        ("a/{x:alpha}", "/api/a/ab1", None),
        (
            "a/{x:guid}",
            "/api/a/6f9619ff-8b86-d011-b42d-00c04fc964ff",
            {"x": "6f9619ff-8b86-d011-b42d-00c04fc964ff"},
        ),
        ("a/{x:bool}", "/api/a/True", {"x": "True"}),
        ("a/{x:length(2,3)}", "/api/a/abcd", None),
        ("a/{x:length(2)}", "/api/a/ab", {"x": "ab"}),
        ("a/{x:minlength(2)}", "/api/a/a", None),
        ("a/{x:maxlength(2)}", "/api/a/ab", {"x": "ab"}),
        ("a/{x:datetime}", "/api/a/2026-11-21", {"x": "2026-11-21"}),
        ("a/{x:decimal}", "/api/a/1.5", {"x": "1.5"}),
        ("a/{x:regex(^\\d{{3}}$)}", "/api/a/123", {"x": "123"}),
        ("a/{x:regex(^\\d{{3}}$)}", "/api/a/1234", None),
        ("a/{x:int?}", "/api/a", {}),
    ],
)
def test_templates(route: str, path: str, values: Mapping[str, str] | None) -> None:
    assert params(route, path) == values


def test_the_route_of_a_function_without_one_is_its_name() -> None:
    found = Router([function("Ping")], "").resolve("POST", "/ping")
    assert found is not None
    assert found[0].name == "Ping"


def test_functions_are_tried_in_the_order_of_their_names() -> None:
    router = Router([function("search", "items/search"), function("get_item", "items/{id}")], "api")
    found = router.resolve("GET", "/api/items/search")
    assert found is not None
    assert found[0].name == "get_item"


def test_methods_part_functions_of_one_route() -> None:
    router = Router([function("a", "x", "GET"), function("b", "x", "POST")], "api")
    for method, name in (("GET", "a"), ("POST", "b")):
        found = router.resolve(method, "/api/x")
        assert found is not None
        assert found[0].name == name
    assert router.resolve("PUT", "/api/x") is None


@pytest.mark.parametrize(
    ("functions", "prefix", "says"),
    [
        ([function("f", "admin/x")], "", "reserved words"),
        ([function("f", "Runtime")], "", "reserved words"),
        ([function("a", "x"), function("b", "X", "GET")], "api", "conflicts with that of a: both answer GET"),
        ([function("f", "x/{id:odd}")], "api", "unknown constraint 'odd'"),
        ([function("f", "x/{id")], "api", "malformed at '{id'"),
        ([function("f", "x/{1d}")], "api", "malformed"),
    ],
)
def test_what_is_refused_at_load(functions: list[Function], prefix: str, says: str) -> None:
    with pytest.raises(AppLoadError, match="(?i)" + says.replace("{", r"\{")):
        Router(functions, prefix)
