from __future__ import annotations

from functions import inbound_calls, realtime_webhook
from shared.providers.realtime_api import ACCEPT_TIMEOUT_S
from shared.store.deliveries import CLAIM_S


def test_a_handler_gives_up_before_its_claim_lapses() -> None:
    """Else two would handle one delivery at a time."""
    handled_within_s = realtime_webhook._HANDLED_WITHIN_S
    answering_s = inbound_calls._ANSWER_ATTEMPTS * (ACCEPT_TIMEOUT_S + inbound_calls._ANSWER_PAUSE_S)
    assert answering_s < handled_within_s < CLAIM_S
