"""A call at the model's service, by SIP or WebRTC, once it is up: what the Realtime API can do with it.

Source: the Realtime API's calls (hangup) and its SIP guide (refer). It tells nothing of how a transfer
comes out: the call leaves the service, or stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.telephony.legs import unsupported
from shared.telephony.outbound import Target
from shared.telephony.recording import Recording

if TYPE_CHECKING:
    from shared.providers.protocol import RealtimeProvider


class ProviderLeg:
    """A CarrierLeg at the model's service. by_sip: whether somebody's telephone is at the other end."""

    def __init__(self, provider: RealtimeProvider, call_id: str, *, by_sip: bool) -> None:
        self._provider = provider
        self._call_id = call_id
        self._by_sip = by_sip

    @property
    def call_id(self) -> str:
        """The service's id of the call."""
        return self._call_id

    async def hang_up(self) -> bool:
        return await self._provider.hang_up(self._call_id)

    def check_transfer(self, target: Target) -> None:
        if not self._by_sip:
            raise unsupported("be transferred")
        if not target.is_phone and not target.address.startswith(("sip:", "sips:")):
            raise unsupported("be transferred to a user that is no number and no SIP address")

    async def transfer(self, target: Target, operation_id: str) -> None:
        _ = operation_id  # a second REFER of the same call finds it gone
        self.check_transfer(target)
        address = target.address
        await self._provider.refer_call(self._call_id, f"tel:{address}" if target.is_phone else address)

    async def add_participant(self, target: Target, operation_id: str, *, ring_s: int) -> None:
        raise unsupported("get more participants")

    async def hold(self) -> None:
        raise unsupported("be held")

    async def resume(self) -> None:
        raise unsupported("be held, or resumed")

    async def send_digits(self, digits: str, operation_id: str) -> None:
        raise unsupported("be sent digits")

    async def start_recording(self, operation_id: str, recording: Recording) -> str:
        raise unsupported("be recorded")

    async def pause_recording(self, recording_id: str) -> bool:
        raise unsupported("be recorded")

    async def resume_recording(self, recording_id: str) -> bool:
        raise unsupported("be recorded")

    async def stop_recording(self, recording_id: str) -> bool:
        raise unsupported("be recorded")

    async def restart_media(self) -> None:
        raise unsupported("get its media restarted, which do not pass through here")
