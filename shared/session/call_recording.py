"""How far the recording of a call is, as the session's log tells it.

Workers log what is wanted from then on, the control plane what the carrier has done of it. The two cross:
an answer to an earlier wish can follow a later wish.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shared.session.log import CallEvent, CallEventKind, LogEntry


@dataclass(frozen=True, kw_only=True)
class CallRecording:
    """What is wanted, and what is.

    wishes: how often the workers have said what is wanted. wanted_by: the agent that wants the call
        recorded, "" while nobody does.
    recording_id: the carrier's id of the recording that is not over, "" for none. paused: it keeps nothing.
    starts: how many there were. failed: what is wanted was tried, and can't be had.
    """

    wishes: int = 0
    wanted: bool = False
    wanted_by: str = ""
    recording_id: str = ""
    paused: bool = False
    starts: int = 0
    failed: bool = False

    @property
    def as_wanted(self) -> bool:
        """Whether nothing is left to do, for all that the log tells."""
        return self.failed or self.wanted == (bool(self.recording_id) and not self.paused)


def call_recording(entries: Iterable[LogEntry]) -> CallRecording:
    """Return what the log tells of the call's recording."""
    state = CallRecording()
    for entry in entries:
        if isinstance(entry, CallEvent):
            state = _after(state, entry)
    return state


def _after(state: CallRecording, entry: CallEvent) -> CallRecording:
    match entry.event:
        case CallEventKind.RECORDING_ASKED | CallEventKind.RECORDING_PAUSE_ASKED:
            wanted = entry.event is CallEventKind.RECORDING_ASKED
            wanted_by = entry.detail if wanted else ""
            return replace(state, wishes=state.wishes + 1, wanted=wanted, wanted_by=wanted_by, failed=False)
        case CallEventKind.RECORDING_STARTED:
            return replace(state, recording_id=entry.operation_id, paused=False, starts=state.starts + 1)
        case CallEventKind.RECORDING_PAUSED | CallEventKind.RECORDING_RESUMED:
            return replace(state, paused=entry.event is CallEventKind.RECORDING_PAUSED)
        case CallEventKind.RECORDING_STOPPED:
            return replace(state, recording_id="", paused=False)
        case CallEventKind.RECORDING_FAILED:
            over = entry.operation_id == state.recording_id  # the carrier gave it up; else a request failed
            return replace(state, failed=True, recording_id="" if over else state.recording_id)
        case _:
            return state
