"""The seam to carriers: a call that rings, whoever brought it, and what can be done to it.

A carrier's adapter turns its own notice of a call into a RingingCall. Deciding, recording and
attaching are the same for all of them and know nothing of the carrier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from shared.session.model import Session, Transport
from shared.telephony.outbound import Target


class Refusal(StrEnum):
    """Why a call is not answered; stable, for programs and reports."""

    CALLER_DENIED = "caller_denied"
    CALLER_NOT_ALLOWED = "caller_not_allowed"  # there is a list of those who are, and the caller is not on it
    CALLER_WITHHELD = "caller_withheld"
    NUMBER_NOT_SERVED = "number_not_served"  # no agent answers the called number
    CLOSED = "closed"  # outside of the opening hours
    NO_ROOM = "no_room"  # no worker has room, or as many calls are live as the policy lets
    FAULT = "fault"  # ours: settings, agents or policy are wrong


@dataclass(frozen=True, kw_only=True)
class InboundCall:
    """A call that comes in. Addresses are of shared.telephony.addresses, "" where unknown; they say who
    somebody is, so they show in no repr and go into no log.

    call_id: the carrier's name for it, the same in every notice of this call. Carriers may name it otherwise
        once it is answered.
    """

    call_id: str
    transport: Transport
    caller: str = field(repr=False)
    called: str = field(repr=False)


class RingingCall(Protocol):
    """One call of one carrier, not yet answered. Errors are the provider's or carrier's SidetoneErrors."""

    @property
    def call(self) -> InboundCall: ...

    async def answer(self, session: Session, configuration: Mapping[str, object]) -> str:
        """Pick up; return the carrier's name for the call from now on.

        configuration: the agent's Realtime session, for a carrier that is the model's service itself.
        Raises `call_not_found` when it rings no longer. After a retryable failure it may have been answered.
        Doing it again for the same session is harmless.
        """
        ...

    async def redirect(self, target: Target) -> bool:
        """Let it ring somewhere else; return False when it rings no longer.

        Raises `unsupported_by_carrier` where that is not to be had.
        """
        ...

    async def reject(self, refusal: Refusal) -> str:
        """Refuse; return how this reason was told, as in "486", or "" when it rings no longer."""
        ...
