"""The seam to carriers: a call that is up, and a call that is to be made, whoever carries it.

A carrier's adapter does what its service can, and says `unsupported_by_carrier` otherwise. What comes of
most requests is told later, by the carrier's callbacks or by the end of the call; `operation_id` is what
those answer to.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

from shared.errors import SidetoneError
from shared.session.model import Session
from shared.telephony.outbound import Target
from shared.telephony.recording import Recording


class CarrierLeg(Protocol):
    """One call of one carrier that is up, or about to be.

    Every method raises SidetoneError with one of the codes `unsupported_by_carrier`, `call_not_found`,
    `call_not_established`, `carrier_unauthorized`, `carrier_rate_limited`, `carrier_unavailable` and
    `carrier_rejected`, or the provider's own where that is the carrier. What has an `operation_id` has its
    effect once, however often it is asked for under it, as far as the carrier keeps to that.
    """

    async def hang_up(self) -> bool:
        """End the call for everybody in it; return False when it was over."""
        ...

    def check_transfer(self, target: Target) -> None:
        """Return if a call of this kind can be handed over to `target`; nothing is asked of the carrier."""
        ...

    async def transfer(self, target: Target, operation_id: str) -> None:
        """Hand whoever we talk to over to `target`, without waiting until somebody answers there."""
        ...

    async def add_participant(self, target: Target, operation_id: str, *, ring_s: int) -> None:
        """Call `target`, for at most `ring_s` seconds, and take it into the call."""
        ...

    async def hold(self) -> None:
        """Let whoever we talk to hear and say nothing, until `resume`."""
        ...

    async def resume(self) -> None:
        """End `hold`."""
        ...

    async def send_digits(self, digits: str, operation_id: str) -> None:
        """Press keys (0-9, *, #, A-D), as a telephone does, for whoever we talk to."""
        ...

    async def start_recording(self, operation_id: str, recording: Recording) -> str:
        """Record the call; return the carrier's id of the recording."""
        ...

    async def pause_recording(self, recording_id: str) -> bool:
        """Keep nothing of the call until `resume_recording`; return False when the recording is over.

        One that is paused already stays so.
        """
        ...

    async def resume_recording(self, recording_id: str) -> bool:
        """End `pause_recording`, in the same recording; return False when that is over."""
        ...

    async def stop_recording(self, recording_id: str) -> bool:
        """End a recording; return False when it was over."""
        ...

    async def restart_media(self) -> None:
        """Let the carrier open the worker's media socket anew, when it has given up doing so by itself."""
        ...


class OutboundCarrier(Protocol):
    """A carrier that calls people for us."""

    async def place(self, session: Session, target: Target, caller_id: str) -> str:
        """Call `target`, showing `caller_id`; return the carrier's id of the call.

        What comes of it is told by callbacks. After a retryable failure the call may have been placed; doing
        it again for the same session does not place another. Raises what CarrierLeg raises.
        """
        ...


def unsupported(what: str) -> SidetoneError:
    """Return the error for what this call's carrier cannot do; `what` goes on from "a call cannot"."""
    return SidetoneError(
        "unsupported_by_carrier",
        f"A call of this carrier cannot {what}.",
        status=HTTPStatus.CONFLICT,
    )
