"""host.json, local.settings.json and the keys file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulators.functions_host.host_settings import (
    HostSettingsError,
    read_host_settings,
    read_local_settings,
)
from emulators.functions_host.keys import Keys, KeysError, given_key, load_keys


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_host_json_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEBSITE_SITE_NAME", raising=False)
    write(tmp_path / "host.json", {"version": "2.0"})
    settings = read_host_settings(tmp_path)
    assert (settings.route_prefix, settings.hub_name, settings.function_timeout) == (
        "api",
        "TestHubName",
        1800,
    )
    assert settings.max_activities >= 10


def test_host_json_is_honoured(tmp_path: Path) -> None:
    durable = {"hubName": "H", "maxConcurrentActivityFunctions": 3, "maxConcurrentOrchestratorFunctions": 4}
    extensions = {"http": {"routePrefix": ""}, "durableTask": {**durable, "storageProvider": {"type": "x"}}}
    content = {"version": "2.0", "functionTimeout": "1.00:00:10", "extensions": extensions}
    write(tmp_path / "host.json", {**content, "logging": {"logLevel": {"default": "Warning"}}})
    settings = read_host_settings(tmp_path)
    assert (settings.route_prefix, settings.hub_name) == ("", "H")
    assert (settings.max_activities, settings.max_orchestrators) == (3, 4)
    assert settings.function_timeout == 86410
    assert settings.log_levels == {"default": "Warning"}


def test_no_time_limit(tmp_path: Path) -> None:
    write(tmp_path / "host.json", {"version": "2.0", "functionTimeout": "-1"})
    assert read_host_settings(tmp_path).function_timeout is None


def test_local_settings(tmp_path: Path) -> None:
    assert read_local_settings(tmp_path).values == {}
    content = {
        "Values": {"A": "1", "B": True, "C": 2},
        "Host": {"CORS": "https://a.example, https://b.example"},
    }
    write(tmp_path / "local.settings.json", content)
    settings = read_local_settings(tmp_path)
    assert settings.values == {"A": "1", "B": "true", "C": "2"}
    assert settings.cors == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"Values": {"A": {"nested": 1}}}, '"Values.A" must be a string'),
        ({"Values": []}, '"Values" must be an object'),
        ({"Host": {"CORS": 1}}, '"Host.CORS" must be a string'),
        ("nonsense", "is not JSON"),
    ],
)
def test_wrong_local_settings(tmp_path: Path, content: object, says: str) -> None:
    write(tmp_path / "local.settings.json", content)
    with pytest.raises(HostSettingsError, match=says):
        read_local_settings(tmp_path)


def test_keys_that_are_missing_are_made_and_the_others_kept(tmp_path: Path) -> None:
    file = write(tmp_path / "keys.json", {"master": "M", "functions": {"f": {"mine": "F"}}, "note": "kept"})
    keys = load_keys(file, ["f", "g"])
    written = json.loads(file.read_text(encoding="utf-8"))
    assert (keys.master, keys.functions["f"]["mine"], written["note"]) == ("M", "F", "kept")
    assert written["functions"]["g"]["default"] == keys.functions["g"]["default"]
    assert load_keys(file, ["f", "g"]).system == keys.system
    assert "M" not in repr(keys)


@pytest.mark.parametrize("content", ["[]", "{", '{"host": []}', '{"functions": {"f": "key"}}'])
def test_a_wrong_keys_file(tmp_path: Path, content: str) -> None:
    with pytest.raises(KeysError, match=r"keys\.json"):
        load_keys(write(tmp_path / "keys.json", content), ["f"])


def test_an_empty_key_opens_nothing() -> None:
    keys = Keys(master="", host={"default": ""}, functions={}, system={})
    assert not keys.allows("function", "f", "")
    assert not keys.allows_admin("")
    assert not keys.allows_extension("eventgrid", "")
    assert keys.allows("anonymous", "f", "")


def test_the_header_wins_over_the_query() -> None:
    assert given_key({"x-functions-key": "h"}, {"code": "q"}) == "h"
    assert given_key({}, {"code": "q"}) == "q"
    assert given_key({}, {}) == ""


def test_odd_bytes_in_a_key_are_only_wrong() -> None:
    keys = Keys(master="m", host={}, functions={}, system={})
    assert not keys.allows_admin("\udcff\udcfe")
