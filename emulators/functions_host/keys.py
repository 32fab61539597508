"""Access keys: master, host, function and system keys, and who may call what with them.

Source: the Functions host's `AuthenticationLevelHandler.cs` and `DefaultScriptWebHookProvider.cs`.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

KEY_HEADER = "x-functions-key"
KEY_QUERY = "code"
SYSTEM_KEYS = ("durabletask_extension", "eventgrid_extension")


class KeysError(Exception):
    """The keys file cannot be used."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Keys:
    """All keys of one app."""

    master: str
    host: Mapping[str, str]
    functions: Mapping[str, Mapping[str, str]]
    system: Mapping[str, str]

    def allows(self, level: str, function: str, given: str) -> bool:
        """Whether `given` opens an HTTP function of this `authLevel`."""
        match level.upper():
            case "ANONYMOUS":
                return True
            case "ADMIN":
                return _matches(given, [self.master])
            case _:
                own = self.functions.get(function, {})
                return _matches(given, [self.master, *self.host.values(), *own.values()])

    def allows_admin(self, given: str) -> bool:
        return _matches(given, [self.master])

    def allows_extension(self, extension: str, given: str) -> bool:
        """Whether `given` opens `/runtime/webhooks/<extension>`."""
        return _matches(given, [self.master, self.system.get(f"{extension}_extension", "")])


def given_key(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Return the key that a request brings: the header wins over the query."""
    return headers.get(KEY_HEADER) or query.get(KEY_QUERY, "")


def load_keys(path: Path, function_names: Sequence[str]) -> Keys:
    """Read the keys file; what is missing is generated and written (mode 0600). Raises KeysError."""
    content = _read(path)
    before = json.dumps(content)
    content.setdefault("master", _new_key())
    host = _section(path, content, "host")
    host.setdefault("default", _new_key())
    functions = _section(path, content, "functions")
    for name in function_names:
        _section(path, functions, name).setdefault("default", _new_key())
    system = _section(path, content, "system")
    for name in SYSTEM_KEYS:
        system.setdefault(name, _new_key())
    if json.dumps(content) != before:
        _write(path, content)
    return Keys(
        master=str(content["master"]),
        host=cast("Mapping[str, str]", host),
        functions=cast("Mapping[str, Mapping[str, str]]", functions),
        system=cast("Mapping[str, str]", system),
    )


def _matches(given: str, accepted: Sequence[str]) -> bool:
    """Compare with every key in constant time; an empty key opens nothing."""
    found = False
    presented = given.encode("utf-8", "surrogateescape")
    for key in accepted:
        found |= bool(key) and hmac.compare_digest(presented, key.encode())
    return found


def _new_key() -> str:
    return secrets.token_urlsafe(40)


def _section(path: Path, content: dict[str, object], name: str) -> dict[str, object]:
    section = content.setdefault(name, {})
    if not isinstance(section, dict):
        raise KeysError(f'{path}: "{name}" must be an object.')
    return cast("dict[str, object]", section)


def _read(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise KeysError(f"The keys file {path} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise KeysError(f"The keys file {path} must hold a JSON object.")
    return cast("dict[str, object]", content)


def _write(path: Path, content: Mapping[str, object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=2)
        path.chmod(0o600)
    except OSError as error:
        raise KeysError(f"The keys file {path} cannot be written: {error}.") from error
