"""Structured logs: one JSON object a line on stderr, redacted, with session and trace id.

Messages are constant strings; what varies goes into `extra`:

    _log = get_logger(__name__)
    with bind_session(session_id):
        _log.info("tool finished", extra={"tool": name, "duration_ms": 12.5})
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

import orjson

from shared.security.redaction import RECORD_ATTRIBUTES, RedactionFilter
from shared.telemetry.trace_context import current_trace_id

ROOT_LOGGER = "sidetone"
_session: ContextVar[str] = ContextVar("sidetone_session", default="")


def get_logger(name: str) -> logging.Logger:
    """Return the logger `sidetone.<name>`, which is exported and redacted with all of ours."""
    if name == ROOT_LOGGER or name.startswith(f"{ROOT_LOGGER}."):
        return logging.getLogger(name)
    return logging.getLogger(f"{ROOT_LOGGER}.{name}")


@contextmanager
def bind_session(session_id: str) -> Generator[None]:
    """Give every record logged in the block, and in tasks started in it, the session's id."""
    token = _session.set(session_id)
    try:
        yield
    finally:
        _session.reset(token)


def bound_session() -> str:
    """Return the session that the running code works for, "" when it is none."""
    return _session.get()


class ContextFilter(logging.Filter):
    """Adds `session_id` and `role` to records that have none."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete `record`; always let it pass."""
        session_id = _session.get()
        if session_id and not hasattr(record, "session_id"):
            record.session_id = session_id
        if not hasattr(record, "role"):
            record.role = self._role
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, trace id, then the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a redacted record."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace_id = current_trace_id()
        if trace_id:
            line["trace_id"] = trace_id
        line.update((k, v) for k, v in vars(record).items() if k not in RECORD_ATTRIBUTES)
        try:
            return orjson.dumps(line, default=_type_name, option=orjson.OPT_NON_STR_KEYS).decode()
        except orjson.JSONEncodeError:  # half a surrogate pair, an integer beyond 64 bits
            return json.dumps(line, default=_type_name, skipkeys=True)


class _JsonHandler(logging.StreamHandler[TextIO]):
    """Our own handler, recognisable when logging is configured again."""


def configure_logging(level: str, *, role: str, stream: TextIO | None = None) -> None:
    """Write our logs as JSON lines to `stream` (stderr) from `level` on; `role` names the process in each.

    Records of other libraries are written from WARNING on, in the same form, unless the process already
    has handlers of its own (as in the Functions host). Calling again changes level and role.
    """
    logger = logging.getLogger(ROOT_LOGGER)
    logger.setLevel(level)
    logger.propagate = False
    _replace_handler(logger, _handler(role, logging.NOTSET, stream))
    root = logging.getLogger()
    if all(isinstance(handler, _JsonHandler) for handler in root.handlers):
        _replace_handler(root, _handler(role, logging.WARNING, stream))


def silence_stderr() -> None:
    """Stop writing our own records to stderr: for a host that would export each line a second time."""
    logger = logging.getLogger(ROOT_LOGGER)
    for handler in [h for h in logger.handlers if isinstance(h, _JsonHandler)]:
        logger.removeHandler(handler)


def protect(handler: logging.Handler, *, role: str) -> None:
    """Let `handler` see redacted records only, completed by session id and role."""
    if not any(isinstance(present, RedactionFilter) for present in handler.filters):
        handler.addFilter(ContextFilter(role))
        handler.addFilter(RedactionFilter())


def _handler(role: str, level: int, stream: TextIO | None) -> _JsonHandler:
    handler = _JsonHandler(stream or sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(JsonFormatter())
    protect(handler, role=role)
    return handler


def _replace_handler(logger: logging.Logger, handler: _JsonHandler) -> None:
    for present in [h for h in logger.handlers if isinstance(h, _JsonHandler)]:
        logger.removeHandler(present)
    logger.addHandler(handler)


def _type_name(value: object) -> str:
    return f"<{type(value).__qualname__}>"
