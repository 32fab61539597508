"""A call that rings at Communication Services."""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import NotFoundError
from shared.session.model import Session
from shared.telephony.acs.carrier import AcsCarrier
from shared.telephony.acs.events import IncomingCall
from shared.telephony.calls import InboundCall, Refusal
from shared.telephony.outbound import Target

REASON: Mapping[Refusal, str] = {
    Refusal.CALLER_DENIED: "forbidden",
    Refusal.CALLER_NOT_ALLOWED: "forbidden",
    Refusal.CALLER_WITHHELD: "forbidden",
    Refusal.NUMBER_NOT_SERVED: "none",
    Refusal.CLOSED: "busy",
    Refusal.NO_ROOM: "busy",
    Refusal.FAULT: "none",
}


class AcsRingingCall:
    """A RingingCall of Communication Services."""

    def __init__(self, carrier: AcsCarrier, incoming: IncomingCall) -> None:
        self._carrier = carrier
        self._incoming = incoming

    @property
    def call(self) -> InboundCall:
        return self._incoming.call

    async def answer(self, session: Session, configuration: Mapping[str, object]) -> str:
        _ = configuration  # the worker configures the model's session, whose audio it carries
        return await self._carrier.answer(session, self._incoming.context)

    async def redirect(self, target: Target) -> bool:
        try:
            await self._carrier.redirect(self._incoming.context, target)
        except NotFoundError:
            return False
        return True

    async def reject(self, refusal: Refusal) -> str:
        reason = REASON[refusal]
        try:
            await self._carrier.reject(self._incoming.context, reason)
        except NotFoundError:
            return ""
        return reason
