"""Calls that reach the model's service by SIP: their headers, and how they are answered and refused.

Sources: the Realtime API's SIP guide (`realtime.call.incoming`, accept, reject); RFC 3261 sections 20.20,
20.39 (From and To), 21 (status codes) and 25.1 (grammar).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from shared.session.model import Session, Transport
from shared.telephony.addresses import address_of
from shared.telephony.calls import InboundCall, Refusal
from shared.telephony.legs import unsupported
from shared.telephony.outbound import Target

if TYPE_CHECKING:
    from shared.providers.protocol import RealtimeProvider

STATUS: Mapping[Refusal, int] = {
    Refusal.CALLER_DENIED: 603,  # Decline
    Refusal.CALLER_NOT_ALLOWED: 603,
    Refusal.CALLER_WITHHELD: 603,
    Refusal.CLOSED: 480,  # Temporarily Unavailable
    Refusal.NUMBER_NOT_SERVED: 404,  # Not Found
    # Busy Here: 503 would have some carriers take the whole trunk for dead.
    Refusal.NO_ROOM: 486,
    Refusal.FAULT: 500,  # Server Internal Error: a carrier with another route takes that
}
_NAMES = {"from": "from", "f": "from", "to": "to", "t": "to"}  # with their compact forms
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_BRACKETED = re.compile(r"<([^<>]*)>")


def sip_call(call_id: str, headers: Iterable[tuple[str, str]]) -> InboundCall:
    """Return the call that an INVITE with these headers (name, value) makes; of repeated ones the first.

    A carrier vouches for the From header as far as it vouches for caller ids at all: it is no proof of
    who calls.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(_NAMES.get(name.strip().lower(), ""), value)
    return InboundCall(
        call_id=call_id,
        transport=Transport.SIP,
        caller=_address(found.get("from", "")),
        called=_address(found.get("to", "")),
    )


def _address(header: str) -> str:
    """Return the address in a From or To header: `"Ann" <sip:+15550100@carrier.example>;tag=1`."""
    bare = _QUOTED.sub("", header)  # a display name may look like an address
    bracketed = _BRACKETED.search(bare)
    uri = bracketed.group(1) if bracketed else bare.split(";")[0]
    scheme, _, rest = uri.strip().partition(":")
    match scheme.lower():
        case "tel":
            user = rest
        case "sip" | "sips":
            user, at, host = rest.rpartition("@")
            if not at or host.lower().startswith("anonymous.invalid"):
                return ""
            user = user.split(":")[0]  # a password, of all things, may follow
        case _:
            return ""
    return address_of(unquote(user.split(";")[0]))


class SipCall:
    """A RingingCall at the model's service."""

    def __init__(self, provider: RealtimeProvider, call: InboundCall) -> None:
        self._provider = provider
        self._call = call

    @property
    def call(self) -> InboundCall:
        return self._call

    async def answer(self, session: Session, configuration: Mapping[str, object]) -> str:
        await self._provider.accept_call(self._call.call_id, configuration)
        return self._call.call_id

    async def redirect(self, target: Target) -> bool:
        raise unsupported("be redirected while it rings")

    async def reject(self, refusal: Refusal) -> str:
        status = STATUS[refusal]
        return str(status) if await self._provider.reject_call(self._call.call_id, status) else ""
