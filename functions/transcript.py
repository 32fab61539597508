"""The transcript: the log's turns and tool calls, in the order in which they were spoken.

A caller's transcription often arrives after the answer to it, so the log's order is not the
conversation's; `spoken_at_ms` is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from shared.session.log import (
    AgentTurn,
    AudioStarted,
    Interrupted,
    LoggedEntry,
    ToolCalled,
    ToolFinished,
    ToolStatus,
    TurnStatus,
    UserTurn,
)
from shared.session.model import EndReason
from shared.session.redacted import redacted


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Something said. `agent` is "" for the caller; `first_audio_ms` is -1 where unknown."""

    speaker: Literal["caller", "agent"]
    agent: str
    text: str
    status: TurnStatus
    spoken_at_ms: int
    first_audio_ms: float


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A tool call and, once it has finished, its one result."""

    called: ToolCalled
    finished: ToolFinished | None


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """A conversation in order."""

    turns: tuple[Turn, ...]
    tools: tuple[ToolCall, ...]


def assemble(entries: Iterable[LoggedEntry]) -> Transcript:
    """Return the transcript of a session's log, redacted as the tools' authors say."""
    turns: list[Turn] = []
    place_of_response: dict[str, int] = {}
    calls: dict[str, ToolCall] = {}
    for logged in entries:
        match redacted(logged.entry):
            case UserTurn() as said:
                turns.append(
                    Turn(
                        speaker="caller",
                        agent="",
                        text=said.text,
                        status=said.status,
                        spoken_at_ms=said.spoken_at_ms,
                        first_audio_ms=-1,
                    )
                )
            case AgentTurn() as said:
                place_of_response[said.response_id] = len(turns)
                turns.append(
                    Turn(
                        speaker="agent",
                        agent=said.agent,
                        text=said.text,
                        status=said.status,
                        spoken_at_ms=said.spoken_at_ms,
                        first_audio_ms=said.first_audio_ms,
                    )
                )
            case AudioStarted(response_id=response_id) as began if response_id in place_of_response:
                place = place_of_response[response_id]
                turns[place] = replace(turns[place], first_audio_ms=began.first_audio_ms)
            case Interrupted(response_id=response_id) if response_id in place_of_response:
                place = place_of_response[response_id]
                turns[place] = replace(turns[place], status=TurnStatus.INTERRUPTED)
            case ToolCalled() as called:
                calls.setdefault(called.tool_call_id, ToolCall(called=called, finished=None))
            case ToolFinished() as finished if finished.tool_call_id in calls:
                open_call = calls[finished.tool_call_id]
                if open_call.finished is None:
                    calls[finished.tool_call_id] = replace(open_call, finished=finished)
            case _:
                pass  # states, usage, errors: not part of what was said and done
    return Transcript(
        turns=tuple(sorted(turns, key=lambda turn: turn.spoken_at_ms)), tools=tuple(calls.values())
    )


def summarise(transcript: Transcript, *, end_reason: str, duration_s: float) -> str:
    """Return a summary in a sentence or three: counts and outcomes, no content, so nothing personal."""
    callers = sum(turn.speaker == "caller" for turn in transcript.turns)
    agents = [turn for turn in transcript.turns if turn.speaker == "agent"]
    interrupted = sum(turn.status is TurnStatus.INTERRUPTED for turn in agents)
    parts = [f"Ended {end_reason or 'for an unknown reason'} after {duration_s:.0f} s."]
    spoken = f"{_count(callers, 'turn')} of the caller, {_count(len(agents), 'turn')} of the agent"
    parts.append(f"{spoken}, {interrupted} interrupted." if interrupted else f"{spoken}.")
    if transcript.tools:
        outcomes = (
            f"{tool.called.name} {_outcome(tool, transferred=end_reason == EndReason.TRANSFERRED)}"
            for tool in transcript.tools
        )
        parts.append(f"Tools: {', '.join(outcomes)}.")
    return " ".join(parts)


def _outcome(tool: ToolCall, *, transferred: bool) -> str:
    from shared.agents.call_tools import TRANSFER_CALL

    if tool.finished is not None:
        return tool.finished.status.value
    # Where the transfer succeeds nobody is left to be told: the end of the session is the answer.
    return ToolStatus.OK.value if transferred and tool.called.name == TRANSFER_CALL else "unanswered"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
