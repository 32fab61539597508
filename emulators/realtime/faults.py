"""Faults on request: what a session, or a REST route, shall do wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

from emulators.realtime.session.validation import number, one_of, only_keys, optional_string
from emulators.realtime.wire import Json, as_object

FaultKind = Literal[
    "close", "delay", "drop", "duplicate", "unknown_event", "expire", "transcription_failed",
    "transcription_late", "response_failed", "late_404", "accept_dies", "http",
]  # fmt: skip
SessionFaultKind = Literal["transcription_failed", "transcription_late", "response_failed"]
_EVENT_KINDS = ("close", "delay", "drop", "duplicate", "unknown_event")
_FIELDS = ("target", "kind", "event", "skip", "times", "ms", "code", "status", "route", "type", "message",
           "retry_after")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class Fault:
    """One fault. It strikes the matches after the first `skip`, `times` times.

    `event` is a pattern of server event types (`response.*`). `ms` is a delay, `code` a WebSocket close code
    (1006: the connection just drops) or an error code, `status` an HTTP status for `route`.
    """

    kind: FaultKind
    event: str = "*"
    skip: int = 0
    times: int = 1
    ms: int = 0
    code: str = ""
    status: int = 0
    route: str = "*"
    type: str = "emulator.unknown_event"
    message: str = ""
    retry_after: int | None = None

    def strikes(self) -> bool:
        """Count one match; tell whether the fault happens now."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times <= 0:
            return False
        self.times -= 1
        return True


@dataclass(slots=True)
class FaultPlan:
    """The faults that wait in one place."""

    waiting: list[Fault] = field(default_factory=list[Fault])

    def add(self, faults: Iterable[Fault]) -> None:
        self.waiting.extend(faults)

    def on_event(self, event_type: str) -> list[Fault]:
        """Return the faults that strike an event of this type now."""
        if not self.waiting:
            return []
        struck = [
            fault
            for fault in self.waiting
            if fault.kind in _EVENT_KINDS and fnmatchcase(event_type, fault.event) and fault.strikes()
        ]
        self._forget_spent()
        return struck

    def take(self, kind: FaultKind, *, route: str = "") -> Fault | None:
        """Return the fault of this kind that strikes now, if one waits."""
        for fault in self.waiting:
            if fault.kind == kind and (not route or fnmatchcase(route, fault.route)) and fault.strikes():
                self._forget_spent()
                return fault
        return None

    def _forget_spent(self) -> None:
        self.waiting = [fault for fault in self.waiting if fault.times > 0]


def parse_fault(body: Json) -> Fault:
    """Return the fault that `POST /_emu/faults` describes; raises RejectedError where it is not one."""
    only_keys(body, _FIELDS, "fault")
    kind = body.get("kind")
    one_of(kind, get_args(FaultKind), "fault.kind")
    for name in ("event", "route", "type", "message"):
        optional_string(body, name, "fault")
    for name in ("skip", "ms", "retry_after"):
        number(body, name, "fault", low=0, high=3_600_000, whole=True)
    number(body, "times", "fault", low=1, high=1_000_000, whole=True)
    number(body, "status", "fault", low=400, high=599, whole=True)
    values = {name: value for name, value in body.items() if name != "target" and value is not None}
    if "code" in values:
        values["code"] = str(values["code"])
    return Fault(**values)  # type: ignore[arg-type] # every field was checked above


def shown(fault: Fault) -> Json:
    """Return the fault as JSON."""
    return as_object({name: getattr(fault, name) for name in fault.__slots__}) or {}
