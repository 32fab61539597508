"""What never reaches a log, a trace or a metric: secrets and personal data.

Three lines of defence: fields whose name says that they hold content are dropped; secrets are
found by their shape everywhere; numbers that could be a telephone, card or insurance number and
e-mail addresses are masked everywhere but in the fields that hold our identifiers. Names and
other free speech have no shape, which is why transcripts and tool arguments are never logged.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from types import TracebackType
from typing import cast
from uuid import UUID

from shared.errors import SidetoneError

SECRET = "[secret]"  # noqa: S105  # what stands in a secret's place
NUMBER = "[number]"
EMAIL = "[email]"

_MAXIMUM_TEXT = 8192
_MAXIMUM_DEPTH = 6
_MAXIMUM_ITEMS = 64
_STACK_FRAMES = 20

_SECRETS = r"""
    (?P<jwt>(?<![\w-])eyJ[\w-]{4,}\.[\w-]{2,}(?:\.[\w-]*)*)
  | (?P<scheme>\b(?:bearer|basic|sharedkey|hmac-sha256)\s+)[\w.~+/=:&;-]{6,}
  | (?P<prefixed>(?<![A-Za-z0-9])(?:ek|sk|rk|whsec)[_-][\w+/=-]{6,})
  | (?P<named>(?:api[-_]?key|access[-_]?key|account[-_]?key|instrumentationkey|functions[-_]key
        |signing[-_]?keys?|secret|password|passwd|pwd|credential|authorization|signature
        |(?:client|access|refresh|id|service|auth|sas)[-_]?token)["']?\s*[=:]\s*)
        (?:"[^"]*"|'[^']*'|(?:(?:bearer|basic|sharedkey|hmac-sha256)\s+)?[^\s,;&"'}\])]+)
  | (?P<query>[?&](?:code|sig|sv|se|key|token|access_token)=)[^\s&"']+
  | (?P<userinfo>(?<=://)[^\s/@:]*:[^\s/@]*(?=@))
"""
# Shapes that hold digits and are neither a person's nor a secret: they are matched first and kept.
_KEPT = r"""
    (?P<kept>
        (?<![A-Za-z0-9_])(?:
            00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}
          | ses_[0-9a-z]{26}(?:\.(?:call|fc)_[A-Za-z0-9]{4,64})?
          | (?:apr|rtc|call|fc|item|resp|event|evt|msg|conv|sess)_(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{4,64}
          | [0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}
          | (?=[0-9]*[a-f])[0-9a-f]{32}
        )(?![A-Za-z0-9_])
      | \b\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?
      | (?<![\d.])(?:(?:127|10)\.\d{1,3}|192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01]))
        \.\d{1,3}\.\d{1,3}(?::\d{1,5})?(?![\d.])
    )
"""
_PERSONAL = r"""
    (?P<email>[\w.!\#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8})
  | (?P<number>\+?\d(?:[ \t\u00a0\u2010-\u2015().\-/]{0,3}\d){6,})
"""
_FLAGS = re.VERBOSE | re.IGNORECASE
_ALL_PATTERNS = re.compile(f"{_SECRETS} | {_KEPT} | {_PERSONAL}", _FLAGS)
_SECRET_PATTERNS = re.compile(_SECRETS, _FLAGS)
# Without any of these in it a text cannot match; most log messages have none, and this is quicker.
_SUSPICIOUS = re.compile(r"[\d@=:]|eyJ|[esr]k[_-]|whsec|bearer|basic|sharedkey|hmac", re.IGNORECASE)

# Fields that hold content or credentials. Dotted names are judged by their last part.
# fmt: off
_DENIED = frozenset({
    "authorization", "proxy_authorization", "api_key", "apikey", "x_functions_key", "x_api_key", "cookie",
    "set_cookie", "password", "secret", "client_secret", "token", "access_token", "client_token",
    "service_token", "credential", "credentials", "signing_keys", "connection_string", "transcript",
    "text", "delta", "content", "message_text", "instructions", "system_instructions", "prompt",
    "greeting", "goodbye", "arguments", "input", "output", "result", "messages", "variables", "summary",
    "body", "payload", "data", "audio", "sdp", "sdp_offer", "sdp_answer", "offer", "answer", "email",
    "phone", "phone_number", "from_number", "to_number", "caller_number", "caller_id", "first_name",
    "last_name", "full_name", "birth_date", "date_of_birth", "postal_address", "ssn",
})
# fmt: on
_DENIED_ENDINGS = ("_api_key", "_secret", "_password", "_token", "_transcript", "_phone", "_email")

# Fields that hold identifiers of ours or of a provider: long digit runs belong there.
# fmt: off
_ID_FIELDS = frozenset({
    "id", "worker", "owner", "job", "entry", "inbox_cursor", "traceparent", "span", "trace", "instance",
    "revision", "model", "version", "host", "url", "endpoint", "path", "file",
})
# fmt: on
_ID_ENDINGS = ("_id", "_ids", "_version")
_MEASURE_ENDINGS = ("_ms", "_s", "_ns", "_us", "_bytes", "_tokens", "_count", "_hz", "_id", "_port", "_at")
_LARGEST_PLAIN_NUMBER = 999_999


def redact(text: str) -> str:
    """Return `text` with secrets, e-mail addresses and runs of 7 or more digits masked.

    Identifiers (`ses_…`, `rtc_…`, UUIDs, W3C trace ids) and ISO times survive. Texts beyond 8192
    characters are cut.
    """
    cut = _cut(text)
    return _ALL_PATTERNS.sub(_mask, cut) if _SUSPICIOUS.search(cut) else cut


def redact_identifier(text: str) -> str:
    """Return `text` with secrets masked and digits kept: for values that are identifiers."""
    cut = _cut(text)
    return _SECRET_PATTERNS.sub(_mask, cut) if _SUSPICIOUS.search(cut) else cut


def redact_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that may be written down, nested ones too, as plain JSON-like values.

    Fields named for content or credentials are dropped. Objects of types that we do not know are
    replaced by their type's name, exceptions by type and code.
    """
    return _mapping(fields, 0)


def redact_value(key: str, value: object) -> object:
    """Return the value of the field `key` as it may be written down; None where it is dropped."""
    return None if is_denied(key) else _value(key, value, 0)


def is_denied(key: str) -> bool:
    """Whether a field of this name holds content or a credential."""
    last = _last_part(key)
    return last in _DENIED or last.endswith(_DENIED_ENDINGS)


def describe_exception(error: BaseException) -> dict[str, object]:
    """Return what may be written down of an exception: its type, and code and detail if it is ours.

    The message of any other exception can quote what a caller sent, so it is left out; the stack tells
    where to look.
    """
    described: dict[str, object] = {"error_type": type(error).__qualname__}
    if isinstance(error, SidetoneError):
        described["error_code"] = error.code
        described["error_detail"] = redact(error.detail)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        described["error_cause"] = type(cause).__qualname__
    stack = _stack(error.__traceback__)
    if stack:
        described["error_stack"] = stack
    return described


class RedactionFilter(logging.Filter):
    """Redacts records in place before a handler sees them: message, arguments, extra fields, exception.

    It belongs on every handler. A record is shared by all handlers, and done only once.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact `record`; always let it pass."""
        if getattr(record, _DONE, False):
            return True
        record.msg = redact(_message(record))
        record.args = None
        for name in [name for name in vars(record) if name not in RECORD_ATTRIBUTES]:
            if is_denied(name):
                delattr(record, name)
            else:
                setattr(record, name, _value(name, getattr(record, name), 0))
        if record.exc_info and record.exc_info[1] is not None:
            for name, value in describe_exception(record.exc_info[1]).items():
                setattr(record, name, value)
        record.exc_info = None
        record.exc_text = None
        record.stack_info = None
        setattr(record, _DONE, True)
        return True


_DONE = "_redacted"
RECORD_ATTRIBUTES = frozenset(
    [*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", _DONE],
)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a wrong format string must not cost the record
        return str(record.msg)


def _mask(match: re.Match[str]) -> str:
    match match.lastgroup:
        case "kept":
            return match.group()
        case "email":
            return EMAIL
        case "number":
            return NUMBER
        case "scheme" | "named" | "query":
            return match.group(match.lastgroup) + SECRET
        case _:
            return SECRET


def _cut(text: str) -> str:
    return text if len(text) <= _MAXIMUM_TEXT else text[:_MAXIMUM_TEXT] + "…"


def _last_part(key: str) -> str:
    return key.lower().replace("-", "_").rpartition(".")[2]


def _mapping(fields: Mapping[str, object], depth: int) -> dict[str, object]:
    kept: dict[str, object] = {}
    for key, value in fields.items():
        if len(kept) == _MAXIMUM_ITEMS:
            break
        name = str(key)
        if not is_denied(name):
            kept[redact(name)] = _value(name, value, depth)
    return kept


def _value(key: str, value: object, depth: int) -> object:
    match value:
        case None | bool() | float():
            return value
        case Enum():
            return _value(key, value.value, depth)
        case int():
            return value if _is_plain(key, value) else NUMBER
        case str():
            return redact_identifier(value) if _is_identifier(key) else redact(value)
        case datetime() | date():
            return value.isoformat()
        case UUID() | PurePath():
            return redact_identifier(str(value))
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case BaseException():
            return value.code if isinstance(value, SidetoneError) else type(value).__qualname__
        case _:
            return _nested(key, value, depth)


def _nested(key: str, value: object, depth: int) -> object:
    if depth >= _MAXIMUM_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return _mapping(cast("Mapping[str, object]", value), depth + 1)
    if isinstance(value, list | tuple | set | frozenset):
        items = list(cast("list[object]", value))[:_MAXIMUM_ITEMS]
        return [_value(key, item, depth + 1) for item in items]
    return f"<{type(value).__qualname__}>"


def _is_identifier(key: str) -> bool:
    last = _last_part(key)
    return last in _ID_FIELDS or last.endswith(_ID_ENDINGS)


def _is_plain(key: str, value: int) -> bool:
    return abs(value) <= _LARGEST_PLAIN_NUMBER or _last_part(key).endswith(_MEASURE_ENDINGS)


def _stack(start: TracebackType | None) -> list[str]:
    """Return the frames as `file:line function`, without source lines or values."""
    frames = traceback.extract_tb(start)[-_STACK_FRAMES:]
    return [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]


def _short(path: str) -> str:
    return "/".join(PurePath(path).parts[-3:])
