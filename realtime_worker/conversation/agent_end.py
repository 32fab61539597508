"""The agent ends the call by a tool: after its sentence, which the caller hears to its end.

A caller who speaks over that sentence wants something: then the call goes on, and the model is told. Where
the response that ends the call says nothing, the agent's farewell is said first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from realtime_worker.conversation.effects import Effect, Record
from realtime_worker.conversation.speaking_time import longest_ms
from realtime_worker.conversation.tool_flow import ToolFlow
from shared.session.log import AgentTurn, LogEntry, ToolCalled, ToolStatus
from shared.session.model import EndReason

_ENDED = '{"call":"ended"}'
_GOES_ON = msgspec.json.encode(
    {
        "error": {
            "code": "caller_spoke",
            "message": "The caller spoke before the call was over, so it goes on. Listen to them, and end it "
            "again when they want nothing more.",
        }
    }
).decode()


class AgentEnd:
    """An end that the agent has asked for, until it comes or the caller prevents it."""

    def __init__(
        self,
        tools: ToolFlow,
        logged: Iterable[LogEntry],
        *,
        leave: Callable[[str, int], list[Effect]],
        finish: Callable[[str, int], list[Effect]],
    ) -> None:
        """leave: says the agent's farewell, then ends with a reason. finish: ends with it at once."""
        self._tools = tools
        self._leave = leave
        self._finish = finish
        self._spoken = {turn.response_id for turn in logged if isinstance(turn, AgentTurn)} - {""}
        self._calls: list[str] = []
        self._response = ""
        self._audio_over = False
        self._by_ms: int | None = None

    @property
    def waiting(self) -> bool:
        """Whether the call ends with the sentence that is being said."""
        return bool(self._calls)

    def next_deadline_ms(self) -> int | None:
        """Return when the sentence counts as heard though nothing tells so, or None."""
        return self._by_ms

    def called(self, call: ToolCalled, now_ms: int) -> list[Effect]:
        """The model ends the call."""
        self._calls.append(call.tool_call_id)
        if not call.response_id:  # nobody saw that response: the farewell is the sentence
            return self._end(now_ms, said=False)
        if call.response_id in self._spoken:  # an earlier owner has seen it to its end
            return self._end(now_ms, said=True)
        if self._response != call.response_id:
            self._response = call.response_id
            self._audio_over = False
        return []

    def taken_up(self, call: ToolCalled, now_ms: int) -> list[Effect]:
        """An earlier owner recorded that the model ends the call, and no more."""
        self._calls.append(call.tool_call_id)
        return self._end(now_ms, said=call.response_id in self._spoken)

    def response_over(self, response_id: str, status: str, said: str, now_ms: int) -> list[Effect]:
        """A response is complete; `said`: its words."""
        if not self._calls or response_id != self._response:
            return []
        if status == "cancelled":
            return self._call_off(now_ms)
        if not said or self._audio_over:
            return self._end(now_ms, said=bool(said))
        self._by_ms = now_ms + longest_ms(said)
        return []

    def audio_over(self, response_id: str, now_ms: int, *, cleared: bool) -> list[Effect]:
        """The audio of a response was heard out or cut off."""
        if not self._calls or response_id != self._response:
            return []
        if cleared:
            return self._call_off(now_ms)
        self._audio_over = True
        return self._end(now_ms, said=True) if self._by_ms is not None else []

    def tick(self, now_ms: int) -> list[Effect]:
        """Time has passed."""
        due = self._by_ms is not None and now_ms >= self._by_ms
        return self._end(now_ms, said=True) if due else []

    def _end(self, now_ms: int, *, said: bool) -> list[Effect]:
        records = [effect for effect in self._answer(ToolStatus.OK, _ENDED, now_ms) if _is_record(effect)]
        end = self._finish if said else self._leave
        return [*records, *end(EndReason.AGENT_ENDED, now_ms)]

    def _call_off(self, now_ms: int) -> list[Effect]:
        return self._answer(ToolStatus.ERROR, _GOES_ON, now_ms)

    def _answer(self, status: ToolStatus, output: str, now_ms: int) -> list[Effect]:
        calls, self._calls = self._calls, []
        self._response, self._by_ms = "", None
        return [
            effect
            for tool_call_id in calls
            for effect in self._tools.finished(tool_call_id, status, output, 0.0, now_ms)
        ]


def _is_record(effect: Effect) -> bool:
    return isinstance(effect, Record)
