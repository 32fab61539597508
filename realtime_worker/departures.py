"""Why a call is gone, where the service that had it does not tell."""

from __future__ import annotations

from collections.abc import Iterable

from shared.session.log import CallEvent, CallEventKind, LogEntry

# How much of a session's log is looked at: a transfer was asked for just before.
LOOKED_AT = 50

_ABOUT_TRANSFERS = frozenset({CallEventKind.TRANSFER_ASKED, CallEventKind.TRANSFER_FAILED})


def was_handed_over(newest: Iterable[LogEntry]) -> bool:
    """Return whether the last that is known of transfers is that the carrier took one.

    A call by SIP that is transferred (REFER) leaves the service without a word.
    """
    told = [
        entry.event for entry in newest if isinstance(entry, CallEvent) and entry.event in _ABOUT_TRANSFERS
    ]
    return bool(told) and told[-1] is CallEventKind.TRANSFER_ASKED
