"""Call Automation through its SDK: answering, refusing and placing calls, and what is done to them.

Source: azure-communication-callautomation 1.6 (its asynchronous client). Two of its habits are gone
round: a connection string always means https there, and an endpoint with a slash behind it is signed
wrongly, so endpoint and key are passed separately; and its ten retries take minutes, while a caller waits.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from shared.errors import ConflictError, NotFoundError, SidetoneError
from shared.session.model import Direction, Session
from shared.telephony.acs.failures import carrier_failures
from shared.telephony.legs import unsupported
from shared.telephony.outbound import Target
from shared.telephony.recording import Recording

if TYPE_CHECKING:
    from azure.communication.callautomation import CommunicationIdentifier, MediaStreamingOptions
    from azure.communication.callautomation.aio import CallAutomationClient, CallConnectionClient
    from azure.identity.aio import DefaultAzureCredential

T = TypeVar("T")

REQUEST_TIMEOUT_S = 5.0
"""One request, with its answer."""

_CONNECT_TIMEOUT_S = 2
_ATTEMPTS = 3
_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 2.0
# Any fixed one: a request's id has to be the same whenever, and wherever, it is sent again.
_REQUEST_IDS = uuid.UUID("5f4c35c9-7d1e-4a8e-9b0e-0e6c8f5d7a11")
_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TONES = {
    **{str(digit): name for digit, name in enumerate(_NUMERALS)},
    **{letter: letter.lower() for letter in "ABCD"},
    "#": "pound",
    "*": "asterisk",
}


@dataclass(frozen=True, kw_only=True)
class CallAddresses:
    """Where the service tells of one call, and where it opens that call's media socket. Both hold a token."""

    callback_url: str = field(repr=False)
    media_url: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AcsAccount:
    """The resource. key: base64, or "" to be known by this process's Azure identity.

    recording_container: the blob container that recordings go to; "" for the service's own storage.
    """

    endpoint: str
    key: str = field(default="", repr=False)
    phone_number: str = field(default="", repr=False)
    recording_container: str = ""


class AcsCarrier:
    """An OutboundCarrier, and the way to calls that ring or are up. Errors are those of CarrierLeg."""

    def __init__(
        self,
        account: AcsAccount,
        addresses: Callable[[Session], CallAddresses],
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        """addresses: what a session's call is told about us. timeout_s: for one request."""
        self._account = account
        self._addresses = addresses
        self._timeout_s = timeout_s
        self._sdk: CallAutomationClient | None = None
        self._credential: DefaultAzureCredential | None = None
        self._making = asyncio.Lock()

    @property
    def phone_number(self) -> str:
        """Our number, which calls show unless they are told another."""
        return self._account.phone_number

    @property
    def recording_container(self) -> str:
        """Where recordings go; "" for the service's own storage."""
        return self._account.recording_container

    def callback_url(self, session: Session) -> str:
        """Return where the service tells of the session's call."""
        return self._addresses(session).callback_url

    def leg(self, session: Session) -> AcsLeg:
        """Return the session's call, whose `call_id` is known."""
        return AcsLeg(self, session)

    async def warm_up(self) -> None:
        """Load the SDK now, so that no ringing call waits for its import."""
        await self._client()

    async def answer(self, session: Session, incoming_call_context: str) -> str:
        """Answer a call that rings, with its media to a worker; return its id. It is sent once.

        A request under the same session is the same to the service: once it has answered, another one
        gets the first one's reply, or `carrier_conflict`.
        """
        addresses = self._addresses(session)

        async def answer(sdk: CallAutomationClient) -> str:
            answered = await sdk.answer_call(
                incoming_call_context,
                addresses.callback_url,
                operation_context=session.session_id,
                media_streaming=_media(addresses),
                headers=_repeatable(session, "answer"),
            )
            return str(answered.call_connection_id or "")

        return await self.once(answer)

    async def redirect(self, incoming_call_context: str, target: Target) -> None:
        """Let a ringing call ring at `target`. Raises `call_not_found` when it rings no longer."""
        await self.patiently(lambda sdk: sdk.redirect_call(incoming_call_context, identifier(target)))

    async def reject(self, incoming_call_context: str, reason: str) -> None:
        """Refuse a ringing call: `none`, `busy` or `forbidden`. Raises `call_not_found`."""
        await self.patiently(lambda sdk: sdk.reject_call(incoming_call_context, call_reject_reason=reason))

    async def place(self, session: Session, target: Target, caller_id: str) -> str:
        addresses = self._addresses(session)

        async def create(sdk: CallAutomationClient) -> str:
            from azure.communication.callautomation import PhoneNumberIdentifier

            placed = await sdk.create_call(
                identifier(target),
                addresses.callback_url,
                source_caller_id_number=PhoneNumberIdentifier(caller_id) if target.is_phone else None,
                operation_context=session.session_id,
                media_streaming=_media(addresses),
                headers=_repeatable(session, "place"),
            )
            return str(placed.call_connection_id or "")

        return await self.patiently(create)

    async def hang_up(self, call_id: str) -> bool:
        """End a call for everybody in it, by its id alone; return False when it was over."""
        try:
            # For us alone, the others would go on talking, at our cost.
            await self.patiently(lambda sdk: sdk.get_call_connection(call_id).hang_up(is_for_everyone=True))
        except NotFoundError:
            return False
        return True

    async def once(self, request: Callable[[CallAutomationClient], Awaitable[T]]) -> T:
        """Send a request once."""
        with carrier_failures():
            sdk = await self._client()
            async with asyncio.timeout(self._timeout_s):
                return await request(sdk)

    async def patiently(self, request: Callable[[CallAutomationClient], Awaitable[T]]) -> T:
        """Send a request that may be sent again; up to three times, in some seconds."""
        attempt = 1
        while True:
            try:
                return await self.once(request)
            except SidetoneError as error:
                # What the service asks for may be more than somebody on the telephone waits.
                told_s = error.retry_after_s if error.code == "carrier_rate_limited" else None
                pause_s = _PAUSE_S * 2 ** (attempt - 1) if told_s is None else told_s
                if not error.retryable or attempt == _ATTEMPTS or pause_s > _LONGEST_PAUSE_S:
                    raise
                await asyncio.sleep(pause_s)
                attempt += 1

    async def close(self) -> None:
        """Give back sockets; safe to call twice."""
        sdk, self._sdk = self._sdk, None
        credential, self._credential = self._credential, None
        if sdk is not None:
            await sdk.close()
        if credential is not None:
            await credential.close()

    async def _client(self) -> CallAutomationClient:
        if self._sdk is not None:
            return self._sdk
        async with self._making:
            if self._sdk is None:
                # Imports take a second: off the event loop, where others talk.
                await asyncio.to_thread(import_module, "azure.communication.callautomation.aio")
                if not self._account.key:
                    await asyncio.to_thread(import_module, "azure.identity.aio")
                self._sdk = self._make()
        return self._sdk

    def _make(self) -> CallAutomationClient:
        from azure.communication.callautomation.aio import CallAutomationClient
        from azure.core.credentials import AzureKeyCredential

        if self._account.key:
            credential = AzureKeyCredential(self._account.key)
        else:
            from azure.identity.aio import DefaultAzureCredential

            credential = self._credential = DefaultAzureCredential()
        return CallAutomationClient(
            self._account.endpoint.rstrip("/"),
            credential,
            retry_total=0,
            connection_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=self._timeout_s,
        )


class AcsLeg:
    """A CarrierLeg of Communication Services.

    Who is at the other end is asked of the service each time: sessions keep no numbers.
    """

    def __init__(self, carrier: AcsCarrier, session: Session) -> None:
        self._carrier = carrier
        self._session = session

    async def hang_up(self) -> bool:
        return await self._carrier.hang_up(self._session.call_id)

    def check_transfer(self, target: Target) -> None:
        identifier(target)

    async def transfer(self, target: Target, operation_id: str) -> None:
        async def transferee(call: CallConnectionClient) -> CommunicationIdentifier | None:
            """Return who is handed over, where that has to be said: there are more than two."""
            others = [participant async for participant in call.list_participants()]
            return await self._other_party(call) if len(others) > 1 else None

        # A request of its own: after a transfer whose reply was lost, nobody is in the call to be asked for.
        handed_over = await self._on_call(transferee)
        await self._on_call(
            lambda call: call.transfer_call_to_participant(
                identifier(target),
                transferee=handed_over,
                operation_context=operation_id,
                headers=self._repeatable("transfer", operation_id),
            )
        )

    async def add_participant(self, target: Target, operation_id: str, *, ring_s: int) -> None:
        from azure.communication.callautomation import PhoneNumberIdentifier

        number = self._carrier.phone_number
        shown = PhoneNumberIdentifier(number) if target.is_phone and number else None
        await self._on_call(
            lambda call: call.add_participant(
                identifier(target),
                invitation_timeout=ring_s,
                source_caller_id_number=shown,
                operation_context=operation_id,
                headers=self._repeatable("add_participant", operation_id),
            )
        )

    async def hold(self) -> None:
        async def hold(call: CallConnectionClient) -> None:
            await call.hold(await self._other_party(call))

        await self._on_call(hold)

    async def resume(self) -> None:
        async def resume(call: CallConnectionClient) -> None:
            await call.unhold(await self._other_party(call))

        await self._on_call(resume)

    async def send_digits(self, digits: str, operation_id: str) -> None:
        async def send(call: CallConnectionClient) -> None:
            await call.send_dtmf_tones(
                [_TONES[digit] for digit in digits.upper()],
                await self._other_party(call),
                operation_context=operation_id,
                headers=self._repeatable("send_digits", operation_id),
            )

        await self._on_call(send)

    async def start_recording(self, operation_id: str, recording: Recording) -> str:
        container = self._carrier.recording_container

        async def start(sdk: CallAutomationClient) -> str:
            from azure.communication.callautomation import AzureBlobContainerRecordingStorage

            started = await sdk.start_recording(
                call_connection_id=self._session.call_id,
                recording_content_type="audio",
                recording_channel_type=recording.channels,
                recording_format_type=recording.format,
                recording_state_callback_url=self._carrier.callback_url(self._session),
                recording_storage=AzureBlobContainerRecordingStorage(container) if container else None,
                headers=self._repeatable("start_recording", operation_id),
            )
            return str(started.recording_id)

        return await self._carrier.patiently(start)

    async def pause_recording(self, recording_id: str) -> bool:
        return await self._turn(recording_id, "inactive", lambda sdk: sdk.pause_recording(recording_id))

    async def resume_recording(self, recording_id: str) -> bool:
        return await self._turn(recording_id, "active", lambda sdk: sdk.resume_recording(recording_id))

    async def _turn(
        self, recording_id: str, state: str, request: Callable[[CallAutomationClient], Awaitable[None]]
    ) -> bool:
        """Bring a recording to `state`. The service refuses it where it is there already."""
        try:
            try:
                await self._carrier.patiently(request)
            except SidetoneError as error:
                if error.retryable or isinstance(error, NotFoundError):
                    raise
                found = await self._carrier.patiently(lambda sdk: sdk.get_recording_properties(recording_id))
                if found.recording_state != state:
                    raise error from None
        except NotFoundError:
            return False
        return True

    async def stop_recording(self, recording_id: str) -> bool:
        try:
            await self._carrier.patiently(lambda sdk: sdk.stop_recording(recording_id))
        except NotFoundError:
            return False
        return True

    async def restart_media(self) -> None:
        await self._on_call(lambda call: call.start_media_streaming())

    async def _on_call(self, request: Callable[[CallConnectionClient], Awaitable[T]]) -> T:
        call_id = self._session.call_id
        if not call_id:
            raise ConflictError("call_not_established", "The call is not up (yet).")
        return await self._carrier.patiently(lambda sdk: request(sdk.get_call_connection(call_id)))

    async def _other_party(self, call: CallConnectionClient) -> CommunicationIdentifier:
        """Return who called us, or whom we called."""
        about = await call.get_call_properties()
        if self._session.direction == Direction.OUTBOUND:
            party = about.targets[0] if about.targets else None
        else:
            party = about.source
        if party is None:
            raise NotFoundError("call_not_found", "Nobody else is in this call any more.")
        return party

    def _repeatable(self, operation: str, operation_id: str) -> dict[str, str]:
        return _repeatable(self._session, f"{operation}:{operation_id}")


def identifier(target: Target) -> CommunicationIdentifier:
    """Return `target` as the SDK names it. Raises `unsupported_by_carrier` for what it has no name for."""
    from azure.communication.callautomation import (
        CommunicationUserIdentifier,
        MicrosoftTeamsUserIdentifier,
        PhoneNumberIdentifier,
    )

    if target.is_phone:
        return PhoneNumberIdentifier(target.address)
    if target.address.startswith("8:orgid:"):
        return MicrosoftTeamsUserIdentifier(target.address.removeprefix("8:orgid:"))
    if target.address.startswith("8:"):
        return CommunicationUserIdentifier(target.address)
    raise unsupported("reach a user of this kind")


def _media(addresses: CallAddresses) -> MediaStreamingOptions:
    """Return how a call's sound comes to a worker and goes back: 24 kHz, as the model takes it."""
    from azure.communication.callautomation import (
        AudioFormat,
        MediaStreamingAudioChannelType,
        MediaStreamingContentType,
        MediaStreamingOptions,
        StreamingTransportType,
    )

    return MediaStreamingOptions(
        transport_url=addresses.media_url,
        transport_type=StreamingTransportType.WEBSOCKET,
        content_type=MediaStreamingContentType.AUDIO,
        audio_channel_type=MediaStreamingAudioChannelType.MIXED,
        start_media_streaming=True,
        enable_bidirectional=True,
        audio_format=AudioFormat.PCM24_K_MONO,
        enable_dtmf_tones=True,
    )


def _repeatable(session: Session, operation: str) -> dict[str, str]:
    """Return the headers by which the service knows a request that is sent again."""
    return {"Repeatability-Request-ID": str(uuid.uuid5(_REQUEST_IDS, f"{session.session_id}:{operation}"))}
