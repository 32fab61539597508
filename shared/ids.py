"""Identifiers: how ours look, and what we accept of others."""

from __future__ import annotations

import hashlib
import re
import secrets

from shared.errors import InvalidRequestError

_SESSION_ID = re.compile(r"ses_[0-9a-z]{26}")
_APPROVAL_ID = re.compile(r"apr_[0-9a-z]{26}")
_CALL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{2,127}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_session_id() -> str:
    """Return a fresh `ses_…`: 26 characters of 5 random bits, unguessable and safe in a URL or a key."""
    return "ses_" + "".join(secrets.choice(_ALPHABET) for _ in range(26))


def parse_session_id(text: str) -> str:
    """Return `text` if it has the form of a session id; raise InvalidRequestError otherwise."""
    if not _SESSION_ID.fullmatch(text):
        raise InvalidRequestError(
            "invalid_session_id", "A session id looks like ses_ and 26 letters or digits."
        )
    return text


def is_call_id(text: str) -> bool:
    """Return whether a provider or carrier could have issued `text` as a call id."""
    return bool(_CALL_ID.fullmatch(text))


def parse_call_id(text: str) -> str:
    """Return `text` if a provider could have issued it as a call id (`rtc_…`); raise otherwise."""
    if not is_call_id(text):
        raise InvalidRequestError(
            "invalid_call_id", "A call id is the last path segment of the provider's Location header (rtc_…)."
        )
    return text


def tool_instance_id(session_id: str, tool_call_id: str) -> str:
    """Return the orchestration instance id of a durable tool call: the same for every retry of it."""
    return f"{session_id}.{re.sub(r'[^A-Za-z0-9_.-]', '-', tool_call_id)}"


def approval_id_of(session_id: str, tool_call_id: str) -> str:
    """Return the id of the approval of a tool call, `apr_…`: the same however often it is asked for."""
    digest = hashlib.sha256(tool_instance_id(session_id, tool_call_id).encode()).digest()
    number = int.from_bytes(digest[:17])
    return "apr_" + "".join(_ALPHABET[number >> 5 * place & 31] for place in range(26))


def parse_approval_id(text: str) -> str:
    """Return `text` if it has the form of an approval's id; raise InvalidRequestError otherwise."""
    if not _APPROVAL_ID.fullmatch(text):
        raise InvalidRequestError(
            "invalid_approval_id", "An approval's id looks like apr_ and 26 letters or digits."
        )
    return text
