"""The calls that the emulator knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from emulators.communication.call_media import CallMedia
from emulators.communication.callbacks import Lane
from emulators.communication.event_log import EventLog
from emulators.communication.faults import Fault, FaultPlan
from emulators.communication.identifiers import Identifier
from emulators.communication.owned_tasks import OwnedTasks
from emulators.communication.participants import Participant, Roster
from emulators.communication.phones import Behaviour, Outcome
from emulators.communication.recognition import Recognition
from emulators.communication.streaming import MediaStreaming, OperationEcho
from emulators.communication.wire import CONFLICT, NOT_ESTABLISHED, NOT_FOUND, TERMINATED, Json, RejectedError

CallState = Literal["ringing", "connecting", "connected", "transferred", "left", "ended"]
"""transferred, left: the application is out, the people still talk."""

_WIRE_STATES: dict[CallState, str] = {
    "ringing": "unknown",
    "connecting": "connecting",
    "connected": "connected",
    "transferred": "disconnected",
    "left": "disconnected",
    "ended": "disconnected",
}


@dataclass(kw_only=True, slots=True)
class Ringing:
    """A telephone that rings, until somebody decides: by behaviour, by /_emu, or by the end of time."""

    who: Identifier
    behaviour: Behaviour
    purpose: Literal["call", "participant", "transfer"]
    decision: asyncio.Future[Outcome]
    invitation_id: str = ""

    def decide(self, outcome: Outcome) -> None:
        """Answer it, or not."""
        if not self.decision.done():
            self.decision.set_result(outcome)


@dataclass(kw_only=True, slots=True)
class Transfer:
    """A transfer that was accepted: who now talks to whom."""

    target: Identifier
    transferee: Identifier
    sip_headers: dict[str, str]
    voip_headers: dict[str, str]

    def shown(self) -> Json:
        return {
            "target": self.target.name,
            "transferee": self.transferee.name,
            "sip_headers": self.sip_headers,
            "voip_headers": self.voip_headers,
        }


@dataclass(kw_only=True, slots=True)
class Call:
    """One call, from its ringing to the end of everybody's part in it.

    `source` called `target`. `echo` holds the callback address and context of answer or create.
    """

    id: str
    server_call_id: str
    correlation_id: str
    direction: Literal["inbound", "outbound"]
    source: Identifier
    target: Identifier
    display_name: str
    roster: Roster
    media: CallMedia
    log: EventLog
    lane: Lane
    faults: FaultPlan
    incoming_call_context: str = ""
    state: CallState = "ringing"
    echo: OperationEcho = field(default_factory=OperationEcho)
    callback_uri: str = ""
    streaming: MediaStreaming | None = None
    recognition: Recognition | None = None
    dtmf_subscriptions: dict[str, OperationEcho] = field(default_factory=dict[str, OperationEcho])
    dtmf_sequence: int = 0
    ringing: dict[str, Ringing] = field(default_factory=dict[str, Ringing])
    transfer: Transfer | None = None
    redirected_to: Identifier | None = None
    reject_reason: str | None = None
    end_reason: str | None = None
    tasks: OwnedTasks = field(default_factory=OwnedTasks)

    def require_connected(self) -> None:
        """Return when actions are possible; raises RejectedError."""
        self.require_present()
        if self.state != "connected":
            raise RejectedError(400, NOT_ESTABLISHED, "The call is not established yet.")

    def require_present(self) -> None:
        """Return while the application takes part; raises RejectedError (409) afterwards."""
        if self.state in ("transferred", "left", "ended"):
            raise RejectedError(409, TERMINATED, "The call is terminated for this application.")

    def person(self, name: Identifier | None) -> Participant:
        """Return who is there under a name, by default who came first; raises RejectedError."""
        if name is not None:
            return self.roster.find(name)
        for participant in self.roster:
            return participant
        raise RejectedError(409, CONFLICT, "Nobody is in this call.")

    def properties(self) -> Json:
        """Return the call as `CallConnectionProperties`."""
        streaming = self.streaming
        phone: Json = {"value": self.source.name}
        return {
            "callConnectionId": self.id,
            "serverCallId": self.server_call_id,
            "correlationId": self.correlation_id,
            "callConnectionState": _WIRE_STATES[self.state],
            "callbackUri": self.callback_uri,
            "targets": [self.target.to_json()],
            "source": self.source.to_json(),
            "sourceDisplayName": self.display_name,
            **({"sourceCallerIdNumber": phone} if self.source.is_phone else {}),
            **({"answeredFor": {"value": self.target.name}} if self._answered_number() else {}),
            **(
                {
                    "mediaStreamingSubscription": {
                        "id": streaming.identity.subscription_id,
                        "state": streaming.state,
                        "subscribedContentTypes": ["audio"],
                    }
                }
                if streaming is not None
                else {}
            ),
        }

    def shown(self) -> Json:
        """Return the call as /_emu shows it."""
        return {
            "id": self.id,
            "direction": self.direction,
            "state": self.state,
            "end_reason": self.end_reason,
            "from": self.source.name,
            "to": self.target.name,
            "server_call_id": self.server_call_id,
            "correlation_id": self.correlation_id,
            "incoming_call_context": self.incoming_call_context,
            "callback_uri": self.callback_uri,
            "operation_context": self.echo.context,
            "talked_ms": self.media.milliseconds,
            "ringing": [ringing.who.name for ringing in self.ringing.values()],
            "participants": [
                {
                    "name": participant.identifier.name,
                    "muted": participant.muted,
                    "on_hold": participant.on_hold,
                    "speaking": participant.microphone.speaking,
                    "tones_heard": participant.tones_heard,
                }
                for participant in self.roster
            ],
            "left": [participant.identifier.name for participant in self.roster.left],
            "streaming": self.streaming.shown() if self.streaming is not None else None,
            "transfer": self.transfer.shown() if self.transfer is not None else None,
            "redirected_to": self.redirected_to.name if self.redirected_to is not None else None,
            "reject_reason": self.reject_reason,
        }

    def _answered_number(self) -> bool:
        return self.direction == "inbound" and self.target.is_phone


class Calls:
    """All calls; of those that have ended, the newest `keep`."""

    def __init__(self, keep: int) -> None:
        self._calls: dict[str, Call] = {}
        self._keep = keep
        self._for_next: list[Fault] = []
        self._for_all: list[Fault] = []

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def add(self, call: Call) -> None:
        """Know one more; forget the oldest that have ended."""
        self._calls[call.id] = call
        ended = [known.id for known in self if known.state == "ended"]
        for call_id in ended[: max(0, len(ended) - self._keep)]:
            del self._calls[call_id]

    def find(self, call_id: str) -> Call:
        """Return a call; raises RejectedError (404)."""
        call = self._calls.get(call_id)
        if call is None:
            raise RejectedError(404, NOT_FOUND, "The call is not known. It may have ended already.")
        return call

    def connection(self, call_id: str) -> Call:
        """Return a call that the application has answered or placed; raises RejectedError (404)."""
        call = self.find(call_id)
        if not call.callback_uri:
            raise RejectedError(404, NOT_FOUND, "The call is not known. It may have ended already.")
        return call

    def by_context(self, context: str) -> Call | None:
        """Return the call of an incoming call context."""
        return next((call for call in self if context and call.incoming_call_context == context), None)

    def by_server_call_id(self, server_call_id: str) -> Call:
        """Return the call of a server call id; raises RejectedError (404)."""
        for call in self:
            if call.server_call_id == server_call_id:
                return call
        raise RejectedError(404, NOT_FOUND, "There is no call of this server call id.")

    def plan(self, fault: Fault) -> None:
        """Let a fault wait for its target; raises RejectedError (404) for an unknown call."""
        if fault.target == "next":
            self._for_next.append(fault)
        elif fault.target == "all":
            self._for_all.append(fault)
        else:
            self.find(fault.target).faults.add([fault])

    def take_faults(self) -> list[Fault]:
        """Return the faults of a call that begins now."""
        faults, self._for_next = self._for_next, []
        return faults + [_copy(fault) for fault in self._for_all]

    def waiting(self) -> list[Fault]:
        """Return all faults that still wait."""
        return self._for_next + self._for_all + [fault for call in self for fault in call.faults.waiting]

    def forget_faults(self) -> None:
        """Plan nothing any more."""
        self._for_next, self._for_all = [], []
        for call in self:
            call.faults.waiting.clear()


def _copy(fault: Fault) -> Fault:
    return Fault(**{name: getattr(fault, name) for name in fault.__struct_fields__})
