"""What a recording keeps of a call: its shape, and nothing of what was said.

In free text every ASCII letter becomes `x`, every digit `0`, and every character beyond ASCII, white space
excepted, a stand-in of the same size in UTF-8. JSON text keeps its structure too. So lengths stay, in
characters and in bytes, and what a conversation decides by length comes out the same. Strings stay as they
are only in fields that this module names, and only when they look like an identifier; a provider's numbers
only in fields that hold times, counts and places. A field that nobody has thought of is masked.

Masking again what is masked changes nothing. So a conversation that is fed masked input has effects that,
masked, equal the masked effects of the original.

Source of the field names: the GA Realtime API's client and server events.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeGuard, cast

import msgspec

Json = dict[str, object]

# Strings in these fields of a provider's or client's event are identifiers, types and codes.
# fmt: off
_EVENT_IDENTIFIERS = frozenset({
    "type", "object", "event_id", "id", "call_id", "item_id", "response_id", "previous_item_id",
    "conversation_id", "status", "role", "phase", "code", "reason", "model", "voice", "output_modalities",
    "sidetone_request",
})
# In these of our own records.
_OWN_IDENTIFIERS = frozenset({
    "type", "session_id", "agent", "agent_version", "worker", "transport", "call_id", "item_id",
    "response_id", "tool_call_id", "entry_id", "name", "repeatable", "execution", "status", "state", "reason",
    "source", "code", "command", "version", "to", "from_agent", "to_agent", "to_version", "previous_agent",
    "rule", "event", "step", "terms",
})
# fmt: on
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:\-]{0,256}")
# A function's name is one only where a function is.
_NAMED = frozenset({"function", "function_call"})

# Numbers of an event in these fields are times, counts and places.
_KEPT_NUMBER_ENDINGS = ("_ms", "_at", "_tokens", "_index")

# Strings in these fields are JSON text, as functions take and return it.
_JSON_TEXT = frozenset({"arguments", "output"})
# Objects in these fields are as the caller's side or the agent's author likes.
_FREE_FORM = frozenset({"arguments", "variables", "parameters", "headers", "prompt", "tools"})
# Sound, as base64.
_SOUND = frozenset({"audio", "delta"})

# Field names are schema; what doesn't look like a name is not one.
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")

# Two, three and four bytes in UTF-8.
_STAND_INS = ("\u00d7", "\u2715", "\U0001d5d1")
# A backslash with what it escapes, as in JSON's strings, is taken together.
_TO_MASK = re.compile(r"(?P<escape>\\(?:u[0-9A-Fa-f]{4}|[\\\"/bfnrt]))|[A-Za-z]|[0-9]|[^\x00-\x7f\s]")
# The same for texts without either.
_PLAIN = str.maketrans({**dict.fromkeys(string.ascii_letters, "x"), **dict.fromkeys(string.digits, "0")})
_JSON_TOKEN = re.compile(
    r"""
        (?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>-?[0-9][0-9.eE+\-]*)
    """,
    re.VERBOSE | re.DOTALL,
)
_DIGITS = re.compile(r"[0-9]+")
_FINGERPRINT = re.compile(r"masked:[0-9a-f]{16}")

# No event is nested this deep; one that is loses its depths.
_DEEPEST = 48


def mask_text(text: str) -> str:
    """Return `text` with letters and digits masked; white space and ASCII punctuation stay."""
    if text.isascii() and "\\" not in text:
        return text.translate(_PLAIN)
    return _TO_MASK.sub(_stand_in, text)


def mask_json_text(text: str) -> str:
    """Return JSON text with its structure, field names, true, false and null; other text as `mask_text`."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return mask_text(text)
    return _JSON_TOKEN.sub(_masked_token, text)


def mask_own(name: str, value: str) -> str:
    """Return a string of one of our own records, masked unless its field holds identifiers."""
    if name in _JSON_TEXT:
        return mask_json_text(value)
    return value if name in _OWN_IDENTIFIERS and _IDENTIFIER.fullmatch(value) else mask_text(value)


class EventMask:
    """Masks events of the provider and for it; one instance a recording.

    The conversation compares a session's instructions and tools with those it had before. Fingerprints take
    their place: equal where the originals are equal. Their key is made anew each time and kept nowhere, so
    that nobody can try out what the originals were.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def mask(self, event: Mapping[str, object]) -> Json:
        """Return `event` masked."""
        return self._object(event, 0)

    def _object(self, fields: Mapping[str, object], depth: int) -> Json:
        masked: Json = {}
        named = str(fields.get("type")) in _NAMED
        for name, value in fields.items():
            if isinstance(value, str):
                if name not in _SOUND:
                    masked[_field_name(name)] = _event_string(
                        "id" if named and name == "name" else name, value
                    )
            elif name == "metadata":
                masked[name] = _our_metadata(value)
            elif name == "session" and isinstance(value, Mapping):
                masked[name] = self._session(cast("Mapping[str, object]", value), depth)
            elif name in _FREE_FORM:
                masked[name] = _free_form(value, depth)
            else:
                masked[_field_name(name)] = self._value(name, value, depth)
        return masked

    def _value(self, name: str, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return value if name.endswith(_KEPT_NUMBER_ENDINGS) else 0
        if isinstance(value, str):
            return _event_string(name, value)
        if depth >= _DEEPEST:
            return None
        if isinstance(value, Mapping):
            return self._object(cast("Mapping[str, object]", value), depth + 1)
        if isinstance(value, list | tuple):
            return [self._value(name, element, depth + 1) for element in cast("Iterable[object]", value)]
        return None

    def _session(self, session: Mapping[str, object], depth: int) -> Json:
        guarded: Json = {}
        if "instructions" in session:
            instructions = session["instructions"]
            guarded["instructions"] = None if instructions is None else self._fingerprint(instructions)
        if "tools" in session:
            tools = session["tools"]
            listed = cast("list[object]", tools) if isinstance(tools, list) else None
            guarded["tools"] = None if listed is None else [self._tool(tool) for tool in listed]
        others = {name: value for name, value in session.items() if name not in guarded}
        return self._object(others, depth + 1) | guarded

    def _tool(self, tool: object) -> Json:
        fields = cast("Mapping[str, object]", tool) if isinstance(tool, Mapping) else {}
        known = fields.get("masked")
        fingerprint = known if _is_fingerprint(known) else self._fingerprint(tool)
        kept = {name: value for name, value in fields.items() if name in ("type", "name")}
        return {**self._object(kept, 0), "masked": fingerprint}

    def _fingerprint(self, value: object) -> str:
        if _is_fingerprint(value):
            return value
        canonical = msgspec.json.encode(value, order="deterministic")
        return "masked:" + hashlib.blake2b(canonical, key=self._key, digest_size=8).hexdigest()


def _event_string(name: str, value: str) -> str:
    if name in _JSON_TEXT:
        return mask_json_text(value)
    return value if name in _EVENT_IDENTIFIERS and _IDENTIFIER.fullmatch(value) else mask_text(value)


def _our_metadata(metadata: object) -> object:
    """Return what the conversation reads of a response's metadata; a client may put in what it likes."""
    if not isinstance(metadata, Mapping):
        return None
    request = cast("Mapping[str, object]", metadata).get("sidetone_request")
    return {"sidetone_request": _event_string("id", request)} if isinstance(request, str) else {}


def _free_form(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return 0
    if isinstance(value, str):
        return mask_text(value)
    if depth >= _DEEPEST:
        return None
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        return {_field_name(name): _free_form(field, depth + 1) for name, field in fields.items()}
    if isinstance(value, list | tuple):
        return [_free_form(element, depth + 1) for element in cast("Iterable[object]", value)]
    return None


def _is_fingerprint(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _FINGERPRINT.fullmatch(value) is not None


@lru_cache(4096)
def _field_name(name: str) -> str:
    return name if _FIELD_NAME.fullmatch(name) else mask_text(name)


def _stand_in(match: re.Match[str]) -> str:
    found = match.group()
    if match.group("escape"):
        return found if len(found) == 2 else "\\u0000"
    if found.isascii():
        return "x" if found.isalpha() else "0"
    return _STAND_INS[len(found.encode(errors="surrogatepass")) - 2]


def _masked_token(match: re.Match[str]) -> str:
    token = match.group()
    match match.lastgroup:
        case "key":
            return f'"{_field_name(token[1:-1])}"'
        case "number":
            return _DIGITS.sub(_plain_number, token)
        case _:
            return mask_text(token)


def _plain_number(digits: re.Match[str]) -> str:
    """Return digits that a JSON number may begin with and that tell nothing but how many there are."""
    length = len(digits.group())
    return "0" if length == 1 else "1" + "0" * (length - 1)
