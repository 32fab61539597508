"""Who may use the REST API: the resource's access key by HMAC-SHA256, or an Entra token.

Source: `azure.communication.callautomation._shared.policy` of the public Python SDK and Microsoft's "Sign an
HTTP request" for Communication Services.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote

from aiohttp import web

from emulators.communication.wire import RejectedError

LARGEST_SKEW_S = 300
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_SCHEME = "HMAC-SHA256"
_SIGNED_HEADERS = "x-ms-date;host;x-ms-content-sha256"
_PARTICIPANT = re.compile(r"(?P<before>.*/participants/)(?P<raw_id>[^/?]+)(?P<after>\?.*)?")


class Authentication:
    """Checks the credentials of REST requests, comparing in constant time."""

    def __init__(self, key: str, *, accept_any_jwt: bool) -> None:
        """`key` is the access key as the portal shows it; ValueError where it is not base64."""
        self._key = base64.b64decode(key, validate=True)
        self._accept_any_jwt = accept_any_jwt

    async def require(self, request: web.Request) -> None:
        """Return for an authentic request; raises RejectedError (401) telling what does not match."""
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if self._accept_any_jwt and _JWT.fullmatch(value.strip()):
                return
            raise _denied("The bearer token is not accepted.")
        if scheme != _SCHEME:
            raise _denied("No credentials: sign the request by HMAC-SHA256.")
        fields = _fields(value)
        if fields.get("SignedHeaders") != _SIGNED_HEADERS:
            raise _denied(f"SignedHeaders must be {_SIGNED_HEADERS}.")
        content_hash = content_sha256(await request.read())
        if not _same(content_hash, request.headers.get("x-ms-content-sha256", "")):
            raise _denied("x-ms-content-sha256 is not the hash of the body.")
        date = request.headers.get("x-ms-date", "")
        _check_date(date)
        given = fields.get("Signature", "")
        host = request.headers.get("Host", "")
        expected = [
            signature(self._key, request.method, target, date, host, content_hash)
            for target in _targets(request.raw_path)
        ]
        if not any(_same(candidate, given) for candidate in expected):
            raise _denied("The signature does not match method, path, date, host and body.")


def content_sha256(body: bytes) -> str:
    """Return the `x-ms-content-sha256` of a body."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def signature(key: bytes, method: str, target: str, date: str, host: str, content_hash: str) -> str:
    """Return the signature of a request; `target` is its path and query as signed, `key` is decoded."""
    signed = f"{method}\n{target}\n{date};{host};{content_hash}"
    return base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()


def _targets(raw: str) -> Iterator[str]:
    """Yield the paths that may have been signed for the one that arrived.

    aiohttp, below the asynchronous SDK, rewrites the escapes of a participant's raw id after the request was
    signed: `4%3A%2B1555` arrives as `4:%2B1555`.
    """
    yield raw
    match = _PARTICIPANT.fullmatch(raw)
    if match is not None:
        escaped = quote(unquote(match["raw_id"]), safe="")
        yield match["before"] + escaped + (match["after"] or "")


def _fields(value: str) -> dict[str, str]:
    parts = [part.partition("=") for part in value.split("&")]
    return {name: content for name, _, content in parts}


def _check_date(text: str) -> None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        raise _denied("x-ms-date is not an RFC 1123 date.") from None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    skew = abs((datetime.now(UTC) - date).total_seconds())
    if skew > LARGEST_SKEW_S:
        raise _denied(f"x-ms-date is {int(skew)} s away from this machine's clock.")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _denied(why: str) -> RejectedError:
    return RejectedError(401, "Denied", f"Denied by the resource provider. {why}")
