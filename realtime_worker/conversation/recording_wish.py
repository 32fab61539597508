"""Whether the call is to be recorded from here on: as the agent that speaks has it, once it may.

Each change is logged before the control plane is told, which reads there what is wanted by then.
"""

from __future__ import annotations

from collections.abc import Iterable

from realtime_worker.conversation.effects import AskRecording, Effect, Record
from shared.session.call_recording import call_recording
from shared.session.log import CallEvent, CallEventKind, LogEntry


class RecordingWish:
    """What was last wanted of the recording of one conversation's call."""

    def __init__(self, logged: Iterable[LogEntry]) -> None:
        found = call_recording(logged)
        self._wanted = found.wanted
        self._number = found.wishes
        self._told = found.as_wanted

    def follow(self, agent: str, now_ms: int) -> list[Effect]:
        """Want the call recorded by `agent`, or by nobody ("")."""
        if bool(agent) == self._wanted:
            if self._told:
                return []
            self._told = True  # an earlier owner may have died between the record and this
            return [AskRecording(number=self._number)]
        self._wanted, self._told = bool(agent), True
        self._number += 1
        kind = CallEventKind.RECORDING_ASKED if agent else CallEventKind.RECORDING_PAUSE_ASKED
        return [
            Record(entry=CallEvent(event=kind, detail=agent, at_ms=now_ms)),
            AskRecording(number=self._number),
        ]
