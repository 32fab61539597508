"""How the host and the app log: to stderr, user logs passed through, host fields as key=value."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "stack"}
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}


class FieldsFormatter(logging.Formatter):
    """Appends the `extra` fields of the host's own records; a function's stack follows on its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if not record.name.startswith("functions_host"):
            return line
        fields = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        stack = getattr(record, "stack", "")
        return (
            line + "".join(f" {k}={v}" for k, v in fields.items()) + (f"\n{stack.rstrip()}" if stack else "")
        )


def configure(levels: Mapping[str, str]) -> None:
    """Set up logging; `levels` is `logging.logLevel` of host.json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FieldsFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(_level(levels.get("default", "Information")))
    if "Function" in levels:
        logging.getLogger("functions_host.invocation").setLevel(_level(levels["Function"]))
    # Per-request chatter of the SDK, the worker library and their HTTP client: not the app's own logs.
    for name in ("azure.functions", "azure.core.pipeline", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _level(name: str) -> int:
    return _LEVELS.get(name.lower(), logging.INFO)
