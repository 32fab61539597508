"""Problems that several operations can answer with, by HTTP status."""

from __future__ import annotations

from collections.abc import Mapping

SESSION_PROBLEMS: Mapping[int, tuple[str, ...]] = {400: ("invalid_session_id",), 404: ("session_not_found",)}
CARRIER_PROBLEMS: Mapping[int, tuple[str, ...]] = {
    502: ("carrier_unauthorized", "carrier_rejected"),
    503: ("acs_not_configured", "carrier_unavailable", "carrier_unreachable", "carrier_rate_limited"),
}
