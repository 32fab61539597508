"""host.json and local.settings.json of a function app, read at the trust boundary."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

_TIMESPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})")


class HostSettingsError(Exception):
    """A settings file is wrong; the text names file and key and says what to write."""


@dataclass(frozen=True, kw_only=True)
class HostSettings:
    """What of host.json this host honours."""

    route_prefix: str = "api"
    hub_name: str = "TestHubName"
    max_activities: int = 10
    max_orchestrators: int = 10
    function_timeout: float | None = 1800.0
    """Seconds; None: no limit."""
    log_levels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """local.settings.json: settings for the environment, and Core Tools' own section."""

    values: Mapping[str, str] = field(default_factory=dict[str, str])
    cors: Sequence[str] = ()


def read_host_settings(app_dir: Path) -> HostSettings:
    """Read host.json. Raises HostSettingsError."""
    path = app_dir / "host.json"
    if not path.is_file():
        raise HostSettingsError(f"There is no host.json in {app_dir}: is this the root of a function app?")
    top = _Section(path, "", _read_object(path))
    if top.raw.get("version") != "2.0":
        raise HostSettingsError(
            f'{path}: "version" must be "2.0", it is {json.dumps(top.raw.get("version"))}.'
        )
    extensions = top.section("extensions")
    durable = extensions.section("durableTask")
    cores = os.cpu_count() or 1
    timeout = top.raw.get("functionTimeout", "00:30:00")
    site_name = re.sub(r"[^A-Za-z0-9]", "", os.environ.get("WEBSITE_SITE_NAME", ""))
    return HostSettings(
        route_prefix=extensions.section("http").text("routePrefix", "api").strip("/"),
        hub_name=durable.text("hubName", site_name or "TestHubName"),
        max_activities=durable.positive("maxConcurrentActivityFunctions", 10 * cores),
        max_orchestrators=durable.positive("maxConcurrentOrchestratorFunctions", 10 * cores),
        function_timeout=None if timeout in (None, "-1") else _seconds(path, str(timeout)),
        log_levels={k: str(v) for k, v in top.section("logging").section("logLevel").raw.items()},
    )


def read_local_settings(app_dir: Path) -> LocalSettings:
    """Read local.settings.json; empty when there is none. Raises HostSettingsError."""
    path = app_dir / "local.settings.json"
    if not path.is_file():
        return LocalSettings()
    top = _Section(path, "", _read_object(path))
    values = top.section("Values").raw
    for name, value in values.items():
        if isinstance(value, (dict, list)):
            raise HostSettingsError(f'{path}: "Values.{name}" must be a string; app settings are flat.')
    cors = top.section("Host").text("CORS", "")
    return LocalSettings(
        values={name: _setting_text(value) for name, value in values.items()},
        cors=[origin.strip() for origin in cors.split(",") if origin.strip()],
    )


def _setting_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class _Section:
    path: Path
    name: str
    raw: Mapping[str, object]

    def section(self, key: str) -> _Section:
        value = self.raw.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, "must be an object", value)
        return _Section(self.path, f"{self.name}{key}.", cast("Mapping[str, object]", value))

    def text(self, key: str, default: str) -> str:
        value = self.raw.get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "must be a string", value)
        return value

    def positive(self, key: str, default: int) -> int:
        value = self.raw.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self._wrong(key, "must be a whole number of at least 1", value)
        return value

    def _wrong(self, key: str, rule: str, value: object) -> HostSettingsError:
        return HostSettingsError(f'{self.path}: "{self.name}{key}" {rule}, it is {json.dumps(value)}.')


def _read_object(path: Path) -> Mapping[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise HostSettingsError(
            f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise HostSettingsError(f"{path} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise HostSettingsError(f"{path} must hold a JSON object.")
    return cast("Mapping[str, object]", content)


def _seconds(path: Path, text: str) -> float:
    match = _TIMESPAN.fullmatch(text)
    if match is None:
        raise HostSettingsError(
            f'{path}: "functionTimeout" must look like 00:05:00, it is {json.dumps(text)}.'
        )
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
