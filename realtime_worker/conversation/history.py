"""What was said and done so far, as much of it as another provider session will be told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

from realtime_worker.conversation.notices import TELL, TELL_SILENTLY
from shared.session.log import (
    AgentTurn,
    CommandReceived,
    Interrupted,
    LogEntry,
    ToolCalled,
    ToolFinished,
    TurnStatus,
    UserTurn,
)

Step: TypeAlias = UserTurn | AgentTurn | ToolCalled | ToolFinished | CommandReceived

# How many steps are kept: an hour's call has some hundreds, and the model needs the last few dozen.
KEPT_STEPS = 200
# The caller's first words are kept longer than the rest: they mostly say what the call is about.
KEPT_OPENINGS = 3
# A shorter turn ("Yes?") says nothing about it.
OPENING_FROM_CHARS = 12
MAX_OPENING_CHARS = 160


class History:
    """The newest steps of one conversation, and whatever older ones still matter: calls without an output.

    Of commands, those are steps that told the model something.
    """

    def __init__(self, entries: Iterable[LogEntry] = ()) -> None:
        self._steps: list[Step] = []
        self._called: dict[str, int] = {}  # tool call id -> when
        self._finished: set[str] = set()
        self._openings: list[UserTurn] = []
        self._left_out = 0
        for entry in entries:
            self.add(entry)

    @property
    def left_out(self) -> int:
        """How many turns are not kept any more."""
        return self._left_out

    @property
    def openings(self) -> tuple[UserTurn, ...]:
        """The caller's first turns that say something."""
        return tuple(self._openings)

    @property
    def open_calls(self) -> frozenset[str]:
        """The tool calls without an output."""
        return frozenset(self._called.keys() - self._finished)

    def add(self, entry: LogEntry) -> None:
        """Take an entry of the log, in the log's order. What is no step of the conversation is ignored."""
        match entry:
            case UserTurn():
                if entry.text or entry.status is TurnStatus.FAILED:
                    self._steps.append(entry)
                if len(entry.text) >= OPENING_FROM_CHARS and len(self._openings) < KEPT_OPENINGS:
                    self._openings.append(replace(entry, text=entry.text[:MAX_OPENING_CHARS]))
            case AgentTurn():
                self._steps.append(entry)
            case CommandReceived(command=command) if command in (TELL, TELL_SILENTLY):
                self._steps.append(entry)
            case Interrupted():
                self._interrupted(entry)
            case ToolCalled():
                if entry.tool_call_id not in self._called:
                    self._called[entry.tool_call_id] = entry.at_ms
                    self._steps.append(entry)
            case ToolFinished():
                if entry.tool_call_id in self.open_calls:
                    self._finished.add(entry.tool_call_id)
                    self._steps.append(entry)
            case _:
                return
        if len(self._steps) > 2 * KEPT_STEPS:
            self._forget()

    def steps(self) -> list[Step]:
        """Return what is kept in the order in which it was spoken and done; outputs come after their calls.

        A caller's transcript often arrives after the answer to it, so this is not the log's order.
        """
        return sorted(self._steps, key=self._moment)

    def _moment(self, step: Step) -> int:
        match step:
            case UserTurn() | AgentTurn():
                return step.spoken_at_ms
            case ToolCalled() | CommandReceived():
                return step.at_ms
            case ToolFinished():  # workers' clocks may disagree
                return max(step.at_ms, self._called[step.tool_call_id])

    def _interrupted(self, entry: Interrupted) -> None:
        for place in range(len(self._steps) - 1, -1, -1):
            turn = self._steps[place]
            if isinstance(turn, AgentTurn) and turn.response_id == entry.response_id:
                self._steps[place] = replace(turn, status=TurnStatus.INTERRUPTED, at_ms=entry.at_ms)

    def _forget(self) -> None:
        ordered = self.steps()
        recent = ordered[-KEPT_STEPS:]
        needed = self.open_calls | {step.tool_call_id for step in recent if isinstance(step, ToolFinished)}
        older = ordered[:-KEPT_STEPS]
        kept = [step for step in older if isinstance(step, ToolCalled) and step.tool_call_id in needed]
        self._left_out += sum(isinstance(step, UserTurn | AgentTurn) for step in older)
        self._steps = [*kept, *recent]
        calls = {step.tool_call_id for step in self._steps if isinstance(step, ToolCalled)}
        self._called = {call: at_ms for call, at_ms in self._called.items() if call in calls}
        self._finished &= calls
