"""Records that several parts of the conversation make."""

from __future__ import annotations

from realtime_worker.conversation.effects import Record
from realtime_worker.conversation.wire import Event, text
from shared.session.log import ErrorRecorded

# A provider's error text is kept for diagnosis, not as an archive.
MAX_DETAIL = 500


def provider_error(code: str, detail: str, now_ms: int) -> Record:
    """Return the record of a failure on the provider's side."""
    entry = ErrorRecorded(source="provider", code=code, detail=detail[:MAX_DETAIL], at_ms=now_ms)
    return Record(entry=entry)


def told_error(error: Event, unnamed: str, now_ms: int) -> Record:
    """Return the record of an error object that the provider sent; one without a code is `unnamed`."""
    return provider_error(text(error, "code") or unnamed, text(error, "message"), now_ms)
