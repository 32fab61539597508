"""W3C trace context (https://www.w3.org/TR/trace-context/): taken from a caller, or begun here."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from emulators.functions_host.app_model import TraceContext

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def from_headers(headers: Mapping[str, str]) -> TraceContext | None:
    """Return the caller's context, or None when there is none or it is malformed."""
    traceparent = headers.get("traceparent", "").strip().lower()
    if not _TRACEPARENT.fullmatch(traceparent):
        return None
    return TraceContext(traceparent=traceparent, tracestate=headers.get("tracestate", ""))


def begin() -> TraceContext:
    """Return a new, sampled root context."""
    return TraceContext(traceparent=f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01")
