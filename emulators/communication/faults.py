"""Faults on request: what a call, the REST side or Event Grid shall do wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec

from emulators.communication.phones import Outcome
from emulators.communication.tokens import Forgery
from emulators.communication.wire import Json

FaultKind = Literal[
    "callback_delay", "callback_drop", "callback_duplicate", "callback_reorder", "callback_batch",
    "callback_forged",
    "media_unreachable", "media_drop", "media_forged", "media_pace", "media_rate",
    "answer_failed", "callee", "transfer_failed", "play_failed", "recording_failed",
    "event_grid_duplicate", "event_grid_delay", "event_grid_drop",
    "http",
]  # fmt: skip
CallbackFaultKind = Literal[
    "callback_delay", "callback_drop", "callback_duplicate", "callback_reorder", "callback_batch",
    "callback_forged",
]  # fmt: skip

_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Times = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=3_600_000)]


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One fault. It strikes the matches after the first `skip`, `times` times.

    `target`: a call's id, "next" (the next call) or "all" (each new one). `event`: a pattern of callback
    names (`Call*`), `operation`: a pattern of REST operations (`answer`). The other fields belong to some
    kinds only; docs/communication-emulator.md tells which.
    """

    kind: FaultKind
    target: str = "next"
    event: str = "*"
    operation: str = "*"
    skip: _Count = 0
    times: _Times = 1
    ms: _Milliseconds = 0
    status: Annotated[int, msgspec.Meta(ge=400, le=699)] | None = None
    code: str = ""
    message: str = ""
    retry_after: _Count | None = None
    effect: bool = False
    token: Forgery = "wrong_key"  # noqa: S105 (the name of a forgery)
    outcome: Outcome = "no_answer"
    factor: Annotated[float, msgspec.Meta(gt=0, le=100)] = 2.0
    rate: Annotated[int, msgspec.Meta(ge=8000, le=48_000)] = 8000
    reopen: bool = True

    def strikes(self) -> bool:
        """Count one match; tell whether the fault happens now."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times <= 0:
            return False
        self.times -= 1
        return True

    def shown(self) -> Json:
        """Return the fault as JSON."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class FaultRequest(msgspec.Struct):
    """`POST /_emu/faults`: one fault, or several under `faults`."""

    faults: list[Fault]


@dataclass(slots=True)
class FaultPlan:
    """The faults that wait in one place."""

    waiting: list[Fault] = field(default_factory=list[Fault])

    def add(self, faults: Iterable[Fault]) -> None:
        self.waiting.extend(faults)

    def on_callback(self, event: str) -> list[Fault]:
        """Return the faults that strike a callback of this name now."""
        if not self.waiting:
            return []
        struck = [
            fault
            for fault in self.waiting
            if fault.kind.startswith("callback_") and fnmatchcase(event, fault.event) and fault.strikes()
        ]
        self._forget_spent()
        return struck

    def on_operation(self, operation: str, call_id: str) -> Fault | None:
        """Return the `http` fault that strikes this operation now, if one waits."""
        for fault in self.waiting:
            concerned = fault.kind == "http" and fault.target in ("next", "all", call_id)
            if concerned and fnmatchcase(operation, fault.operation) and fault.strikes():
                self._forget_spent()
                return fault
        return None

    def take(self, kind: FaultKind) -> Fault | None:
        """Return the fault of this kind that strikes now, if one waits."""
        for fault in self.waiting:
            if fault.kind == kind and fault.strikes():
                self._forget_spent()
                return fault
        return None

    def _forget_spent(self) -> None:
        self.waiting = [fault for fault in self.waiting if fault.times > 0]
