"""What the caller is told while a tool runs: its filler after a silence, and what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from realtime_worker.conversation.responses import ResponseSequencer, Utterance
from realtime_worker.conversation.role import ToolManners

_FILLER = "filler_"
_PROGRESS = "progress_"


@dataclass(kw_only=True)
class _Waiting:
    began_ms: int
    filler: str
    after_ms: int
    progress: str = ""  # the newest that nobody has been told


class WaitingWords:
    """The words of the tools that run in one conversation, said when nobody speaks.

    Of what waits, one thing is said, and it stands for all tools that have waited that long: two tools at
    once do not ask for patience twice. Progress is better than a filler.
    """

    def __init__(self, responses: ResponseSequencer) -> None:
        self._responses = responses
        self._waiting: dict[str, _Waiting] = {}  # tool call id
        self._silent_since_ms: int | None = None

    def began(self, tool_call_id: str, manners: ToolManners, now_ms: int) -> None:
        """A tool runs from now on."""
        self._waiting[tool_call_id] = _Waiting(
            began_ms=now_ms, filler=manners.filler, after_ms=manners.filler_after_ms
        )

    def progressed(self, tool_call_id: str, words: str) -> bool:
        """A running tool has something to tell; return False for one that does not run."""
        waiting = self._waiting.get(tool_call_id)
        if waiting is None:
            return False
        waiting.progress = words
        return True

    def ended(self, tool_call_id: str) -> None:
        """A tool has its output: nothing is said about it any more."""
        if self._waiting.pop(tool_call_id, None) is not None:
            self._responses.forget_utterance(_FILLER + tool_call_id)
            self._responses.forget_utterance(_PROGRESS + tool_call_id)
            if self.idle:
                self._silent_since_ms = None

    @property
    def idle(self) -> bool:
        """Whether no tool runs: `due` would do nothing."""
        return not self._waiting

    def next_deadline_ms(self) -> int | None:
        """Return when `due` has something to say if nobody speaks until then, or None."""
        since = self._silent_since_ms
        if since is None:
            return None
        return min(
            (self._due_ms(one, since) for one in self._waiting.values() if _has_words(one)), default=None
        )

    def due(self, now_ms: int, *, silent: bool) -> None:
        """Say what is to be said now. silent: nobody speaks or is about to."""
        if not silent or not self._waiting:
            self._silent_since_ms = None
            return
        since = self._silent_since_ms = now_ms if self._silent_since_ms is None else self._silent_since_ms
        ready = {
            call: one
            for call, one in self._waiting.items()
            if _has_words(one) and now_ms >= self._due_ms(one, since)
        }
        if not ready:
            return
        call = next((call for call, one in ready.items() if one.progress), next(iter(ready)))
        told = ready[call]
        key = (_PROGRESS if told.progress else _FILLER) + call
        self._responses.want_utterance(Utterance(key=key, text=told.progress or told.filler))
        told.progress = ""
        for one in ready.values():
            one.filler = ""
        self._silent_since_ms = None

    def _due_ms(self, one: _Waiting, since_ms: int) -> int:
        return since_ms if one.progress else max(since_ms, one.began_ms) + one.after_ms


def _has_words(one: _Waiting) -> bool:
    return bool(one.progress or one.filler)
