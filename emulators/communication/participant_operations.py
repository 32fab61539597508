"""Actions on who is in a call: add, remove, mute, hold, transfer."""

from __future__ import annotations

import asyncio

from emulators.communication import rest_bodies as bodies
from emulators.communication.announcements import Announcements
from emulators.communication.calls import Call, Transfer
from emulators.communication.cloud_events import ENDED_BY_API, Result, failed
from emulators.communication.identifiers import Identifier
from emulators.communication.phones import FAILURES, Failure
from emulators.communication.service import CommunicationService
from emulators.communication.streaming import OperationEcho
from emulators.communication.wire import CONFLICT, Json, RejectedError, invalid, without_nulls

_TRANSFER_CONFLICT = "8607"
_TRANSFER_FAILED = Failure(
    code=500, sub_code=560500, message="The transfer failed.", sip_reason="Server Internal Error"
)


class ParticipantOperations:
    """What participant actions do."""

    def __init__(self, service: CommunicationService) -> None:
        self._service = service
        self._invitations: dict[str, asyncio.Task[None]] = {}

    @property
    def _tell(self) -> Announcements:
        return self._service.announcements

    def add(self, call: Call, request: bodies.AddParticipant) -> Json:
        """Ring somebody, and take them into the call; returns `AddParticipantResponse`."""
        call.require_connected()
        who = request.participant_to_add.identifier()
        if who.is_phone and request.source_caller_id_number is None:
            raise invalid("'sourceCallerIdNumber' is needed to add a phone number.")
        if who.raw_id in call.ringing or any(one.identifier == who for one in call.roster):
            raise RejectedError(409, CONFLICT, "The participant is in the call, or being added, already.")
        invitation_id = self._service.ids.guid()
        work = self._add(call, who, request, invitation_id)
        self._invitations[invitation_id] = call.tasks.start(work)
        participant: Json = {"identifier": who.to_json(), "isMuted": False, "isOnHold": False}
        return without_nulls(
            {
                "participant": participant,
                "invitationId": invitation_id,
                "operationContext": request.operation_context,
            }
        )

    def cancel_add(self, call: Call, request: bodies.CancelAddParticipant) -> Json:
        """Stop ringing; returns `CancelAddParticipantResponse`."""
        call.require_connected()
        task = self._invitations.pop(request.invitation_id, None)
        data: Json = {"invitationId": request.invitation_id}
        if task is not None and not task.done():
            task.cancel()
            self._tell.tell(call, "CancelAddParticipantSucceeded", data, echo=request.echo())
        else:
            result = Result(code=404, sub_code=8522, message="There is no such invitation under way.")
            self._tell.tell(call, "CancelAddParticipantFailed", data, result=result, echo=request.echo())
        return without_nulls({**data, "operationContext": request.operation_context})

    def remove(self, call: Call, request: bodies.RemoveParticipant) -> Json:
        """Take somebody out; returns `RemoveParticipantResponse`."""
        call.require_connected()
        who = request.participant_to_remove.identifier()
        data: Json = {"participant": who.to_json()}
        if call.roster.remove(who) is None:
            result = Result(code=404, sub_code=8522, message="The participant is not in the call.")
            self._tell.tell(call, "RemoveParticipantFailed", data, result=result, echo=request.echo())
        else:
            call.log.record("removed", who=who.name)
            self._tell.tell(call, "RemoveParticipantSucceeded", data, echo=request.echo())
            self._service.somebody_left(call, ENDED_BY_API, "removed")
        return without_nulls({"operationContext": request.operation_context})

    def mute(self, call: Call, request: bodies.Mute) -> Json:
        """Keep somebody's voice out of the call; returns `MuteParticipantsResult`."""
        call.require_connected()
        for target in request.target_participants:
            call.roster.find(target.identifier()).muted = True
        self._tell.roster(call)
        return without_nulls({"operationContext": request.operation_context})

    def hold(self, call: Call, request: bodies.OnParticipant, *, on: bool) -> None:
        """Let somebody hear and say nothing for a while, or no longer."""
        call.require_connected()
        call.roster.find(request.target_participant.identifier()).on_hold = on
        self._tell.roster(call)

    def list_participants(self, call: Call) -> Json:
        """Return `GetParticipantsResponse`."""
        call.require_present()
        return {"value": [participant.to_json() for participant in call.roster]}

    def participant(self, call: Call, raw_id: str) -> Json:
        """Return one `CallParticipant`; raises RejectedError (404)."""
        call.require_present()
        return call.roster.find(Identifier(raw_id)).to_json()

    def transfer(self, call: Call, request: bodies.Transfer) -> Json:
        """Hand a participant over to somebody else; returns `TransferCallResponse`."""
        call.require_connected()
        target = request.target_participant.identifier()
        if any(ringing.purpose == "transfer" for ringing in call.ringing.values()):
            raise RejectedError(409, _TRANSFER_CONFLICT, "Another transfer is in progress.")
        if request.transferee is not None:
            transferee = call.roster.find(request.transferee.identifier()).identifier
        elif len(call.roster) == 1:
            transferee = call.person(None).identifier
        else:
            raise invalid("'transferee' is needed in a call of several participants.")
        context = request.custom_calling_context or bodies.CustomContext()
        transfer = Transfer(
            target=target,
            transferee=transferee,
            sip_headers=context.sip_headers or {},
            voip_headers=context.voip_headers or {},
        )
        call.log.record("transfer", target=target.name, transferee=transferee.name)
        call.tasks.start(self._transfer(call, transfer, request.echo()))
        return without_nulls({"operationContext": request.operation_context})

    async def _add(
        self, call: Call, who: Identifier, request: bodies.AddParticipant, invitation_id: str
    ) -> None:
        echo = request.echo()
        data: Json = {"participant": who.to_json()}
        outcome = await self._service.telephones.ring(
            call,
            who,
            "participant",
            invitation_id=invitation_id,
            timeout_s=request.invitation_timeout_in_seconds,
        )
        self._invitations.pop(invitation_id, None)
        if call.state != "connected":
            return
        if outcome not in ("answer", "machine"):
            result = failed(FAILURES[outcome])
            self._tell.tell(call, "AddParticipantFailed", data, result=result, echo=echo)
            return
        self._service.reached(call, who, outcome)
        self._tell.tell(call, "AddParticipantSucceeded", data, echo=echo)
        self._tell.roster(call)

    async def _transfer(self, call: Call, transfer: Transfer, echo: OperationEcho) -> None:
        failure = None
        if call.faults.take("transfer_failed") is not None:
            failure = _TRANSFER_FAILED
        else:
            outcome = await self._service.telephones.ring(call, transfer.target, "transfer")
            if outcome not in ("answer", "machine"):
                failure = FAILURES[outcome]
        if call.state != "connected":
            return  # the caller gave up meanwhile
        if failure is not None:
            call.log.record("transfer_failed", why=failure.message)
            self._tell.tell(call, "CallTransferFailed", result=failed(failure), echo=echo)
            return
        call.transfer = transfer
        call.log.record("transferred", target=transfer.target.name)
        data: Json = {
            "transferTarget": transfer.target.to_json(),
            "transferee": transfer.transferee.to_json(),
        }
        self._tell.tell(call, "CallTransferAccepted", data, echo=echo)
        if len(call.roster) == 1:
            self._service.reached(call, transfer.target, "answer")
            self._service.disconnect(call, "transferred", ENDED_BY_API, "transferred")
        else:
            call.roster.remove(transfer.transferee)
            self._service.somebody_left(call, ENDED_BY_API, "transferred")
