"""Who said what, and how soon: turns out of provider events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from realtime_worker.conversation.wire import Event, parts, spoken_text, text
from shared.session.log import AgentTurn, LogEntry, TurnStatus, UserTurn

T = TypeVar("T")

# How many utterances may be under way at once before the oldest is forgotten: transcripts are late, not lost.
MAX_OPEN = 64

# Responses end as completed, cancelled, incomplete or failed; all but the first say less than was meant.
_STATUS = {"completed": TurnStatus.COMPLETED, "failed": TurnStatus.FAILED}


class TurnTracker:
    """Keeps the times that belong to turns, and makes log entries of them."""

    def __init__(self, logged: Iterable[LogEntry] = ()) -> None:
        """`logged`: what earlier owners have logged last."""
        self._spoken_at: dict[str, int] = {}  # user item id -> when it began
        self._audio_at: dict[str, tuple[int, float]] = {}  # response id -> (began, delay)
        self._response_at: dict[str, int] = {}  # response id -> when it was created
        self._silent_turns: dict[str, None] = {}  # recorded before they were heard
        self._recorded: dict[str, None] = {}  # items and responses already in the log
        self._silent_since_ms: int | None = None
        self._playing = ""
        self._unanswered = ""  # the caller's item that no response has answered in full
        for entry in logged:
            if isinstance(entry, UserTurn | AgentTurn):
                self._first_time(entry.item_id)

    def caller_started(self, item_id: str, now_ms: int) -> None:
        """The caller began to speak."""
        self._silent_since_ms = None
        _remember(self._spoken_at, item_id, now_ms)

    def caller_typed(self, item_id: str, now_ms: int) -> None:
        """The caller began to type."""
        _remember(self._spoken_at, item_id, now_ms)

    def caller_stopped(self, now_ms: int) -> None:
        """The caller finished; the next audio answers this."""
        self._silent_since_ms = now_ms
        self._unanswered = next(reversed(self._spoken_at), "")

    def lose_session(self, now_ms: int) -> UserTurn | None:
        """The provider session is gone: no transcript comes from it any more, and no answer.

        Returns the caller's turn that it took along, unless that is recorded or was answered in full.
        """
        item_id, self._unanswered = self._unanswered, ""
        turn = self.user_turn(item_id, "", TurnStatus.FAILED, now_ms) if item_id else None
        self._spoken_at.clear()
        self._silent_since_ms = None
        return turn

    def response_started(self, response_id: str, now_ms: int) -> None:
        """The service began a response."""
        _remember(self._response_at, response_id, now_ms)

    def response_took(self, response_id: str, now_ms: int) -> float:
        """Return the milliseconds since the response began, 0 where that was not seen."""
        return float(now_ms - self._response_at.pop(response_id, now_ms))

    @property
    def playing(self) -> bool:
        """Whether the caller hears the agent."""
        return bool(self._playing)

    def audio_ended(self, response_id: str) -> None:
        """The audio of a response was heard out or cut off."""
        if self._playing == response_id:
            self._playing = ""

    def audio_started(self, response_id: str, now_ms: int, *, until_told: bool = False) -> float | None:
        """The first audio of a response went out. Later calls for the same response change nothing.

        until_told: `audio_ended` will say when it is over.
        Returns how long the caller waited for it, if the response's turn is recorded without that.
        """
        if until_told:
            self._playing = response_id
        if response_id in self._audio_at:
            return None
        silent_since, self._silent_since_ms = self._silent_since_ms, None
        delay = float(now_ms - silent_since) if silent_since is not None else -1.0
        _remember(self._audio_at, response_id, (now_ms, delay))
        recorded = self._silent_turns.pop(response_id, False) is None
        return delay if recorded and delay >= 0 else None

    def user_turn(self, item_id: str, said: str, status: TurnStatus, now_ms: int) -> UserTurn | None:
        """Return the turn, or None where this item is in the log already."""
        if not self._first_time(item_id):
            return None
        return UserTurn(
            item_id=item_id,
            text=said,
            status=status,
            spoken_at_ms=self._spoken_at.pop(item_id, now_ms),
            at_ms=now_ms,
        )

    def agent_turns(self, response: Event, agent: str, now_ms: int) -> list[AgentTurn]:
        """Return what the agent said in a finished response."""
        response_id = text(response, "id")
        began, delay = self._audio_at.get(response_id, (now_ms, -1.0))
        status = _STATUS.get(text(response, "status"), TurnStatus.INTERRUPTED)
        if status is TurnStatus.COMPLETED:
            self._unanswered = ""
        turns: list[AgentTurn] = []
        for item in parts(response, "output"):
            said = spoken_text(item)
            if text(item, "type") != "message" or not said or not self._first_time(text(item, "id")):
                continue
            turns.append(
                AgentTurn(
                    item_id=text(item, "id"),
                    response_id=response_id,
                    agent=agent,
                    text=said,
                    status=status,
                    first_audio_ms=delay,
                    spoken_at_ms=began,
                    at_ms=now_ms,
                )
            )
        if turns and response_id not in self._audio_at:
            _remember(self._silent_turns, response_id, None)
        if turns and status is TurnStatus.COMPLETED:
            _remember(self._recorded, f"whole:{response_id}", None)
        return turns

    def missed(self, item: Event, agent: str, now_ms: int) -> UserTurn | AgentTurn | None:
        """Return the turn that a message item is, or None where the log has it or its words are not known."""
        item_id, said = text(item, "id"), spoken_text(item)
        if text(item, "type") != "message" or not said or text(item, "status") == "in_progress":
            return None
        match text(item, "role"):
            case "user":
                return self.user_turn(item_id, said, TurnStatus.COMPLETED, now_ms)
            case "assistant" if self._first_time(item_id):
                cut = text(item, "status") == "incomplete"
                return AgentTurn(
                    item_id=item_id,
                    response_id="",
                    agent=agent,
                    text=said,
                    status=TurnStatus.INTERRUPTED if cut else TurnStatus.COMPLETED,
                    first_audio_ms=-1.0,
                    spoken_at_ms=now_ms,
                    at_ms=now_ms,
                )
            case _:
                return None

    def cut_short(self, response_id: str) -> bool:
        """Return whether audio that was cleared belongs to a turn that the log holds as completed."""
        return self._recorded.pop(f"whole:{response_id}", False) is None

    def _first_time(self, item_id: str) -> bool:
        if item_id in self._recorded:
            return False
        _remember(self._recorded, item_id, None)
        return True


def _remember(memory: dict[str, T], key: str, value: T) -> None:
    memory[key] = value
    if len(memory) > MAX_OPEN:
        del memory[next(iter(memory))]
