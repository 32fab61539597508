"""Why a call is gone, where the service that had it does not tell."""

from __future__ import annotations

from collections.abc import Iterable

from shared.session.log import CallEvent, CallEventKind, LogEntry

# How much of a session's log is looked at: a transfer was asked for just before.
LOOKED_AT = 50
# A call that is transferred leaves within seconds. One that leaves later was not: its caller has hung up.
LEAVES_WITHIN_MS = 60_000

_ABOUT_TRANSFERS = frozenset({CallEventKind.TRANSFER_ASKED, CallEventKind.TRANSFER_FAILED})


def was_handed_over(newest: Iterable[LogEntry], now_ms: int) -> bool:
    """Return whether the last that is known of transfers is that the carrier took one just now.

    A call by SIP that is transferred (REFER) leaves the service without a word.
    """
    told = [entry for entry in newest if isinstance(entry, CallEvent) and entry.event in _ABOUT_TRANSFERS]
    if not told or told[-1].event is not CallEventKind.TRANSFER_ASKED:
        return False
    return now_ms - told[-1].at_ms <= LEAVES_WITHIN_MS
