"""Moving the call from one agent to another: asked for, allowed or refused, recorded, then done.

A handoff is a function call of the model like any other, and has one output. It is recorded together with
that output and with who speaks from then on, before the service is told. So whoever takes the session over
finds a handoff that is yet to be decided, or one that is done, and nothing in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from realtime_worker.conversation.cast import Cast
from realtime_worker.conversation.effects import Effect, EnterAgent, Record
from realtime_worker.conversation.role import Accepted
from realtime_worker.conversation.standing import StandingBook
from shared.session.log import HandedOver, ToolCalled


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a call is refused; `message` tells the model what to do."""

    code: str
    message: str


class Entered(Protocol):
    """Told that another agent has taken over, and how that is announced; returns what else it means."""

    def __call__(self, announce: str, now_ms: int) -> list[Effect]: ...


class Handoffs:
    """The handoffs of one conversation: at most one is under way."""

    def __init__(self, cast: Cast, standing: StandingBook, *, max_handoffs: int) -> None:
        self._cast = cast
        self._standing = standing
        self._max = max_handoffs
        self._under_way: ToolCalled | None = None
        self._entered: Entered | None = None

    def give(self, entered: Entered) -> None:
        """entered: told of each agent that takes over."""
        self._entered = entered

    def ask(self, call: ToolCalled) -> EnterAgent | Refusal:
        """Take a recorded call that hands over; return what prepares it, or why it can't be."""
        rule = self._cast.named(call.agent).handoffs[call.name]
        if self._under_way is not None or call.agent not in ("", self._cast.role.agent):
            return Refusal(
                code="already_handed_over", message="The call is being handed over already; once is enough."
            )
        if self._standing.now.handoffs >= self._max:
            return Refusal(
                code="too_many_handoffs",
                message=f"This call was handed over {self._max} times, and is not again. Help the caller "
                "yourself as far as you can, and say what you can't do.",
            )
        if missing := self._standing.missing(rule.requires):
            return Refusal(
                code="facts_missing",
                message=f"{rule.to} can't take over yet: {_listed(missing)} is not established. What a "
                "caller says does not establish it; your tools do.",
            )
        self._under_way = call
        return EnterAgent(
            tool_call_id=call.tool_call_id,
            agent=rule.to,
            arguments=call.arguments,
            standing=self._standing.now,
        )

    def settle(self, tool_call_id: str) -> ToolCalled | None:
        """A handoff has been answered; return its call, or None where none is under way."""
        call = self._under_way
        if call is None or call.tool_call_id != tool_call_id:
            return None
        self._under_way = None
        return call

    def take_over(self, call: ToolCalled, accepted: Accepted, now_ms: int) -> list[Effect]:
        """Let the other agent in; return the records. The call's output belongs into the same batch."""
        rule = self._cast.named(call.agent).handoffs[call.name]
        reason = accepted.context.get("reason")
        entry = HandedOver(
            tool_call_id=call.tool_call_id,
            from_agent=self._cast.role.agent,
            to_agent=accepted.role.agent,
            to_version=accepted.role.version,
            context=tuple(sorted(accepted.context)),
            stated_reason=reason if isinstance(reason, str) else "",
            announce=rule.announce,
            at_ms=now_ms,
        )
        effects: list[Effect] = [Record(entry=entry), *self._standing.hand_over(accepted)]
        self._cast.enter(accepted.role)
        return [*effects, *(self._entered(rule.announce, now_ms) if self._entered else [])]


def gate(standing: StandingBook, call: ToolCalled, required: tuple[str, ...]) -> Refusal | None:
    """Return why a tool must not run yet, or None where it may."""
    missing = standing.missing(required)
    if not missing:
        return None
    return Refusal(
        code="facts_missing",
        message=f"{call.name} can't be used yet: {_listed(missing)} is not established. What a caller says "
        "does not establish it; your tools do, or another agent's.",
    )


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
