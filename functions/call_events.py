"""What a carrier's events do to a session: its life, its log, and what the model is told.

Events come at least once and in any order, so each does only what is right whatever came before it: a
session ends once, a call has one id, and everything else is a line in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from functions.carriers import carrier_of, leg_of
from functions.orchestrations import TRANSFER_RESULT
from functions.session_end import end_by_carrier
from functions.session_start import now_ms
from shared.errors import ConflictError, NotFoundError, SidetoneError

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from functions.orchestrations import Orchestrations
    from shared.session.log import CallEventKind
    from shared.session.model import EndReason, Session
    from shared.telephony.acs.events import CallbackEvent

# The service opens an interrupted media socket again by itself.
_REOPENS_ITSELF = frozenset({"streamConnectionInterrupted", "streamConnectionReestablished"})
# When it has given up, it is asked to; after these pauses, and not oftener: a lease of a dead worker lapses
# in less time than they take together.
_RESTART_PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0)
_RESTARTS_COUNT_FOR_MS = 60_000
_TAIL = 60


class CallEvents:
    """Takes the events of one session's call."""

    def __init__(
        self, needs: Dependencies, orchestrations: Orchestrations, session_id: str, traceparent: str
    ) -> None:
        self._needs = needs
        self._orchestrations = orchestrations
        self._session_id = session_id
        self._traceparent = traceparent

    async def take(self, event: CallbackEvent) -> None:
        """Do what `event` calls for; types that nobody knows do nothing.

        Raises `session_not_found`, and what the store, the orchestrations and the carrier raise.
        """
        from shared.session.log import CallEventKind as Kind
        from shared.session.model import EndReason

        match event.kind:
            case "CallConnected":
                await self._connected(event)
            case "CallDisconnected":
                await self._over(event, Kind.DISCONNECTED, EndReason.CALLER_HUNG_UP)
            case "CreateCallFailed" | "AnswerFailed" | "ConnectFailed":
                await self._over(event, Kind.NOT_CONNECTED, event.reason, detail=event.reason.value)
            case "CallTransferAccepted":
                await self._over(event, Kind.TRANSFER_ACCEPTED, EndReason.TRANSFERRED)
                await self._settle_transfer(event, {"outcome": "accepted"})
            case "CallTransferFailed":
                await self._note(event, Kind.TRANSFER_FAILED, detail=event.reason.value)
                if not await self._settle_transfer(
                    event, {"outcome": "failed", "reason": event.reason.value}
                ):
                    await self._tell(event, transfer_failed(event.reason))
            case "MediaStreamingStarted":
                await self._note(event, Kind.MEDIA_STARTED, detail=event.status)
            case "MediaStreamingStopped":
                await self._note(event, Kind.MEDIA_STOPPED, detail=event.status)
                await self._restart_media(event, pauses_s=(0.0, *_RESTART_PAUSES_S[1:]))
            case "MediaStreamingFailed":
                await self._note(event, Kind.MEDIA_FAILED, detail=event.status)
                await self._restart_media(event)
            case _:
                await self._aside(event)

    async def _aside(self, event: CallbackEvent) -> None:
        """Take what neither begins nor ends anything."""
        from shared.session.log import CallEventKind as Kind
        from shared.telemetry.logs import get_logger

        match event.kind:
            case "AddParticipantSucceeded":
                await self._note(event, Kind.PARTICIPANT_ADDED)
                await self._tell(event, "Another person has joined the call and hears you.", respond=False)
            case "AddParticipantFailed" | "CancelAddParticipantSucceeded":
                await self._note(event, Kind.PARTICIPANT_FAILED, detail=event.reason.value)
                await self._tell(event, f"The other person could not be added: {_why(event.reason)}.")
            case "ParticipantsUpdated":
                await self._note(event, Kind.PARTICIPANTS_CHANGED, detail=str(event.participants))
            case "HoldFailed":
                await self._note(event, Kind.HOLD_FAILED)
            case "SendDtmfTonesCompleted":
                await self._note(event, Kind.DIGITS_SENT)
            case "SendDtmfTonesFailed":
                await self._note(event, Kind.DIGITS_FAILED)
                await self._tell(event, "The digits could not be sent.")
            case "RecordingStateChanged":
                await self._note(
                    event,
                    Kind.RECORDING_CHANGED,
                    detail=event.recording_state,
                    operation_id=event.recording_id,
                )
            case "StartRecordingFailed":
                await self._note(event, Kind.RECORDING_FAILED, operation_id=event.recording_id)
            case "PlayFailed":
                await self._note(event, Kind.PLAY_FAILED)
            case "ContinuousDtmfRecognitionToneReceived":
                # Keys come through the media socket; this is for whoever starts that recognition besides.
                await self._tell(event, f'The caller pressed the key "{event.tone}" of their telephone.')
            case _:
                get_logger("functions.webhooks").info("callback_ignored", extra={"kind": event.kind})

    async def _connected(self, event: CallbackEvent) -> None:
        """Note the call's id, or hang it up where its session is over, or gone: nobody would talk to it."""
        from shared.session.log import CallEventKind

        if not event.call_id:
            return
        try:
            session = await self._needs.sessions.name_call(
                self._session_id, event.call_id, answered_at_ms=now_ms()
            )
        except NotFoundError:
            await self._leaked(event.call_id)
            raise
        except SidetoneError as error:
            if error.code == "call_already_reported":
                await self._leaked(event.call_id)
            raise
        await self._note(event, CallEventKind.CONNECTED)
        if not session.live:
            await self._leaked(event.call_id)

    async def _leaked(self, call_id: str) -> None:
        from shared.telemetry.logs import get_logger

        get_logger("functions.webhooks").warning("call_without_session_hung_up", extra={"call_id": call_id})
        await carrier_of(self._needs).hang_up(call_id)

    async def _settle_transfer(self, event: CallbackEvent, result: Mapping[str, str]) -> bool:
        """Tell the orchestration that asked for a transfer; return False where none did."""
        instance_id = f"{self._session_id}.{event.operation_id}"
        if not event.operation_id or not await self._orchestrations.exists(instance_id):
            return False
        await self._orchestrations.raise_event(instance_id, TRANSFER_RESULT, result)
        return True

    async def _over(
        self, event: CallbackEvent, kind: CallEventKind, reason: EndReason, *, detail: str = ""
    ) -> None:
        await self._note(event, kind, detail=detail)
        session = await self._session()
        await end_by_carrier(self._needs, self._orchestrations, session, reason, self._traceparent)

    async def _restart_media(
        self, event: CallbackEvent, *, pauses_s: tuple[float, ...] = _RESTART_PAUSES_S
    ) -> None:
        """Have a media socket that the service has given up opened again while the call is up.

        The next one may be opened at another worker: that is how a call outlives its own. Media that stop
        because the call is over cannot be restarted; that it is over, another event tells.
        """
        from shared.session.log import CallEvent, CallEventKind
        from shared.session.model import EndReason

        session = await self._session()
        if event.status in _REOPENS_ITSELF or not session.live or not session.call_id:
            return
        since = now_ms() - _RESTARTS_COUNT_FOR_MS
        recent = [
            logged.entry
            for logged in await self._needs.log.tail(self._session_id, _TAIL)
            if isinstance(logged.entry, CallEvent)
            and logged.entry.event is CallEventKind.MEDIA_RESTART_ASKED
            and logged.entry.at_ms > since
        ]
        if len(recent) >= len(pauses_s):
            await end_by_carrier(
                self._needs, self._orchestrations, session, EndReason.PROVIDER_FAILED, self._traceparent
            )
            return
        await asyncio.sleep(pauses_s[len(recent)])
        session = await self._session()
        if not session.live:
            return
        try:
            await leg_of(self._needs, session).restart_media()
        except (NotFoundError, ConflictError):
            return
        await self._note(event, CallEventKind.MEDIA_RESTART_ASKED)

    async def _tell(self, event: CallbackEvent, text: str, *, respond: bool = True) -> None:
        """Tell the model, as long as there is a conversation."""
        from shared.session.commands import Tell

        if (await self._session()).live:
            await self._needs.inbox.put(
                self._session_id,
                Tell(text=text, respond=respond),
                dedupe=f"callback:{event.event_id}",
                traceparent=self._traceparent,
            )

    async def _note(
        self, event: CallbackEvent, kind: CallEventKind, *, detail: str = "", operation_id: str = ""
    ) -> None:
        from shared.session.log import CallEvent

        context = "" if event.operation_id == self._session_id else event.operation_id
        entry = CallEvent(
            event=kind,
            operation_id=(operation_id or context)[:128],
            detail=detail[:64],
            code=event.code,
            sub_code=event.sub_code,
            at_ms=now_ms(),
        )
        await self._needs.log.append(self._session_id, [entry])

    async def _session(self) -> Session:
        return await self._needs.sessions.get(self._session_id)


def transfer_failed(reason: EndReason) -> str:
    """Return what the model is told of a transfer that came to nothing."""
    return f"The transfer failed: {_why(reason)}. The caller is still on the line with you."


def _why(reason: EndReason) -> str:
    from shared.session.model import EndReason

    return {
        EndReason.BUSY: "the line is busy",
        EndReason.DECLINED: "the call was declined",
        EndReason.NO_ANSWER: "nobody answered",
        EndReason.UNREACHABLE: "the number cannot be reached",
    }.get(reason, "the telephone network refused")
