"""A SIP call that leaves after its transfer was asked for was transferred; one that leaves later was not."""

from __future__ import annotations

import pytest

from realtime_worker.departures import LEAVES_WITHIN_MS, was_handed_over
from shared.session.log import CallEvent, CallEventKind, CommandReceived

ASKED = CallEvent(event=CallEventKind.TRANSFER_ASKED, at_ms=1_000)
FAILED = CallEvent(event=CallEventKind.TRANSFER_FAILED, at_ms=2_000)
OTHER = CallEvent(event=CallEventKind.DIGITS_SENT, at_ms=3_000)
SAID = CommandReceived(command="say", at_ms=3_000)


@pytest.mark.parametrize(
    ("newest", "now_ms", "handed_over"),
    [
        ([], 1_000, False),
        ([SAID, OTHER], 4_000, False),
        ([ASKED, OTHER, SAID], 4_000, True),
        ([ASKED, FAILED], 4_000, False),
        ([FAILED, ASKED], 4_000, True),
        ([ASKED], 1_000 + LEAVES_WITHIN_MS, True),
        ([ASKED], 1_001 + LEAVES_WITHIN_MS, False),
    ],
)
def test_why_a_call_is_gone(newest: list[CallEvent], now_ms: int, handed_over: bool) -> None:
    assert was_handed_over(newest, now_ms) is handed_over
