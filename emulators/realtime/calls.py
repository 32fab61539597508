"""Calls and sessions that this process holds, live and lately ended."""

from __future__ import annotations

import copy
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from emulators.realtime.earpiece import Earpiece
from emulators.realtime.faults import Fault, FaultPlan
from emulators.realtime.live_session import LiveSession
from emulators.realtime.session.effects import Transport
from emulators.realtime.webhooks import Delivery
from emulators.realtime.wire import Json, RejectedError

CallState = Literal["ringing", "live", "ended"]
_ENDED_KEPT = 200


@dataclass(kw_only=True)
class Call:
    """A WebRTC or SIP call (`rtc_…`), or a plain WebSocket session (under its `sess_…` id).

    `session` is None while a SIP call rings. `attachable_from` is a monotonic time before which sidebands
    get 404.
    """

    id: str
    transport: Transport
    state: CallState = "live"
    session: LiveSession | None = None
    created_at: float = field(default_factory=time.time)
    attachable_from: float = 0.0
    end_reason: str | None = None
    reject_status: int | None = None
    refer_target: str | None = None
    accepted_with: Json | None = None
    deliveries: list[Delivery] = field(default_factory=list[Delivery])
    faults: FaultPlan = field(default_factory=FaultPlan)
    # What a SIP caller hears, where the emulator speaks.
    earpiece: Earpiece | None = None
    # What ends the media leg or the ringing when the call ends.
    release: Callable[[], None] | None = None

    def end(self, reason: str) -> None:
        """Hang up; idempotent."""
        if self.state == "ended":
            return
        self.state = "ended"
        self.end_reason = reason
        release, self.release = self.release, None
        if self.session is not None:
            self.session.end(reason)
        if release is not None:
            release()

    def shown(self) -> Json:
        """Return the call as the admin routes show it."""
        session = self.session
        return {
            "id": self.id,
            "transport": self.transport,
            "state": self.state,
            "end_reason": self.end_reason,
            "created_at": self.created_at,
            "reject_status": self.reject_status,
            "refer_target": self.refer_target,
            "webhook_deliveries": [delivery.shown() for delivery in self.deliveries],
            "listeners": [listener.name for listener in session.audience.listeners] if session else [],
            "session": session.core.configuration.snapshot() if session else None,
        }


class Calls:
    """The registry. Faults for calls that do not exist yet wait here."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._faults_for_next: list[Fault] = []
        self._faults_for_all: list[Fault] = []

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def add(self, call: Call) -> None:
        """Register a new call, with the faults that wait for it."""
        self._calls[call.id] = call
        ended = [known.id for known in self._calls.values() if known.state == "ended"]
        for call_id in ended[: max(0, len(ended) - _ENDED_KEPT)]:
            del self._calls[call_id]

    def waiting_faults(self) -> FaultPlan:
        """Return the faults a new call starts with."""
        plan = FaultPlan([*self._faults_for_next, *(copy.copy(fault) for fault in self._faults_for_all)])
        self._faults_for_next = []
        return plan

    def plan(self, target: str, fault: Fault) -> None:
        """Plan a fault for the call `target`, for the "next" one or for "all" new ones."""
        if target == "next":
            self._faults_for_next.append(fault)
        elif target == "all":
            self._faults_for_all.append(fault)
        else:
            call = self.find(target)
            (call.session.faults if call.session else call.faults).add([fault])

    def forget_faults(self) -> None:
        """Plan no faults any more."""
        self._faults_for_next = []
        self._faults_for_all = []

    def find(self, call_id: str) -> Call:
        """Return a call by its id or its session's, ended ones included; raises RejectedError (404)."""
        call = self._calls.get(call_id)
        if call is None:
            for known in self._calls.values():
                session = known.session
                if session is not None and session.core.configuration.data["id"] == call_id:
                    return known
            raise not_found()
        return call

    def unended(self, call_id: str) -> Call:
        """Return a call that has not ended; raises RejectedError (404) otherwise."""
        call = self._calls.get(call_id)
        if call is None or call.state == "ended":
            raise not_found()
        return call

    def attachable(self, call_id: str) -> LiveSession:
        """Return the live session behind `call_id` for a sideband; raises RejectedError (404)."""
        call = self.unended(call_id)
        if call.session is None or call.transport == "websocket" or time.monotonic() < call.attachable_from:
            raise not_found()
        return call.session


def not_found() -> RejectedError:
    """Return the service's answer to an unknown call id."""
    return RejectedError(
        "call_id_not_found", "No session found for the provided call_id", param="", status=404
    )
