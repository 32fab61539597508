"""Where an MCP server is, on this machine: environment variables filled in, and what that may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from shared.errors import SidetoneError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def address_of(written: str, environment: Mapping[str, str], *, where: str) -> str:
    """Return `written` with its ${NAME} and ${NAME:-default} filled in.

    where: names the field for whoever has to mend it. Raises SidetoneError `mcp_address_invalid`.
    """
    missing: list[str] = []

    def value(found: re.Match[str]) -> str:
        name, default = found.group(1), found.group(2)
        given = environment.get(name, "")
        if not given and default is None:
            missing.append(name)
        return given or default or ""

    address = _VARIABLE.sub(value, written)
    if missing:
        raise _invalid(
            f"{where}: set {', '.join(missing)}, or write a default: ${{{missing[0]}:-https://…}}."
        )
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _invalid(f"{where}: must become an http(s) address, such as https://billing.example/mcp.")
    if parts.scheme == "http" and not _is_near(parts.hostname):
        raise _invalid(f"{where}: must be https://, or everybody on the way reads what is sent.")
    return address


def _is_near(host: str) -> bool:
    """Return whether `host` is this machine, or an app beside ours in the same environment."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".localhost", ".internal"))
    return address.is_loopback


def _invalid(detail: str) -> SidetoneError:
    return SidetoneError("mcp_address_invalid", detail)
