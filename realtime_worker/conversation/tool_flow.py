"""From a function call of the model to its one output: recorded, run, recorded, sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias, assert_never

import msgspec

from realtime_worker.conversation.cast import Cast
from realtime_worker.conversation.effects import (
    CancelTool,
    Effect,
    EnterAgent,
    Record,
    RunInline,
    Send,
    StartDurable,
)
from realtime_worker.conversation.handoffs import Entered, Handoffs, Refusal, gate
from realtime_worker.conversation.responses import ResponseSequencer
from realtime_worker.conversation.role import Accepted, Declined, HandoffAnswer
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.conversation.standing import StandingBook
from realtime_worker.conversation.tool_calls import ToolBook
from realtime_worker.conversation.waiting_words import WaitingWords
from realtime_worker.conversation.wire import Event, function_call_output, text
from shared.session.log import (
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolMadeDurable,
    ToolProgressed,
    ToolStatus,
)
from shared.session.model import FactValue

# What the service says to an item whose id it has already.
DUPLICATE_ITEM = "item_create_duplicate_item_id"


class Act(Protocol):
    """Does a tool of the conversation's own; `begun`: an earlier owner has recorded the call."""

    def __call__(self, call: ToolCalled, now_ms: int, *, begun: bool) -> list[Effect]: ...


Hold: TypeAlias = Callable[[ToolCalled], Refusal | None]


class ToolFlow:
    """The function calls of one conversation, as effects."""

    def __init__(
        self, setup: ConversationSetup, cast: Cast, standing: StandingBook, responses: ResponseSequencer
    ) -> None:
        self._unanswered = setup.unanswered
        self._cast = cast
        self._standing = standing
        self._responses = responses
        self._handoffs = Handoffs(cast, standing, max_handoffs=setup.max_handoffs)
        self._book = ToolBook()
        self._book.restore(setup.unanswered, setup.answered, cast)
        self._words = WaitingWords(responses)
        for tool_call_id, output in setup.answered.items():
            if output:  # the earlier owner may have died between recording and sending it
                responses.output_sent(tool_call_id)
        self._resent: set[str] = set()
        self._act: Act | None = None
        self._hold: Hold | None = None

    def give(self, *, act: Act, hold: Hold, entered: Entered) -> None:
        """act: does the conversation's own tools. hold: says why a tool must wait, whatever it is.
        entered: told of agents that take over."""
        self._act, self._hold = act, hold
        self._handoffs.give(entered)

    @property
    def waiting(self) -> bool:
        """Whether a call has no output yet."""
        return self._book.waiting

    @property
    def inline_running(self) -> bool:
        """Whether a tool runs in this process."""
        return self._book.inline_running

    @property
    def words(self) -> WaitingWords:
        """What the caller is told while tools run."""
        return self._words

    def called(self, event: Event, response_id: str, now_ms: int) -> list[Effect]:
        """Take the complete function calls of a response, or of one output item; known ones do nothing."""
        effects: list[Effect] = []
        for call in self._book.open_calls(event, response_id, self._cast, now_ms):
            effects.append(Record(entry=call))
            if call.execution is ToolExecution.INLINE:
                # A sibling may have its output already: the reply is for both, and wanted with the last one.
                self._responses.reply_later()
            effects.extend(self._start(call, now_ms))
        return effects

    def finished(
        self,
        tool_call_id: str,
        status: ToolStatus,
        output: str,
        duration_ms: float,
        now_ms: int,
        *,
        facts: Mapping[str, FactValue | None] = {},
        connected: bool = True,
    ) -> list[Effect]:
        """Take a call's outcome; a second one has no effect. Without a connection it is sent by `resend`."""
        name = self._book.settle(tool_call_id, output)
        if name is None:
            return []
        entry = ToolFinished(
            tool_call_id=tool_call_id,
            name=name,
            status=status,
            output=output,
            duration_ms=round(duration_ms, 3),
            facts=facts,
            redact=self._book.manners_of(tool_call_id).redact,
            at_ms=now_ms,
        )
        self._words.ended(tool_call_id)
        effects: list[Effect] = [Record(entry=entry), *self._standing.learn(facts)]
        self._responses.output_sent(tool_call_id)
        if connected:
            effects.append(Send(event=function_call_output(tool_call_id, output), after_commit=True))
        if self._book.siblings_running(tool_call_id):
            self._responses.hold_reply()
        else:
            self._responses.want_reply()
        return effects

    def asks(self, tool_call_id: str, now_ms: int) -> list[Effect]:
        """A tool that ran in this process needs a person's approval: its call goes on as a durable one.

        Whatever the reply to its siblings waited for is nothing that comes soon. What is no inline call
        without an output has no effect.
        """
        call = self._book.make_durable(tool_call_id)
        if call is None:
            return []
        if not self._book.siblings_running(tool_call_id):
            self._responses.want_held_reply()
        entry = ToolMadeDurable(tool_call_id=tool_call_id, name=call.name, at_ms=now_ms)
        return [Record(entry=entry), _start_durable(call)]

    def interrupted(self, now_ms: int, *, connected: bool) -> list[Effect]:
        """The caller speaks: cancel the tools that want that. The record comes first, as for any outcome."""
        effects: list[Effect] = []
        for tool_call_id, began_ms in self._book.cancellable().items():
            output = _error_output(
                "cancelled_by_caller",
                "The caller spoke, so this was cancelled; whether it took effect is not known. Listen to "
                "them, and call it again only if they still want it.",
            )
            took_ms = float(now_ms - began_ms)
            effects += self.finished(
                tool_call_id, ToolStatus.CANCELLED, output, took_ms, now_ms, connected=connected
            )
            effects.append(CancelTool(tool_call_id=tool_call_id))
        return effects

    def progressed(self, tool_call_id: str, words: str, now_ms: int) -> list[Effect]:
        """A running tool tells how far it is; one that does not run is not heard."""
        if not self._words.progressed(tool_call_id, words):
            return []
        return [Record(entry=ToolProgressed(tool_call_id=tool_call_id, text=words, at_ms=now_ms))]

    def handoff_answered(
        self, tool_call_id: str, answer: HandoffAnswer, now_ms: int, *, connected: bool
    ) -> list[Effect]:
        """Let the agent in that a handoff leads to, or tell the model why it can't be."""
        call = self._handoffs.settle(tool_call_id)
        if call is None:
            return []
        match answer:
            case Declined(code=code, message=message):
                output = _error_output(code, message)
                return self.finished(
                    tool_call_id, ToolStatus.INVALID, output, 0.0, now_ms, connected=connected
                )
            case Accepted():
                entered = self._handoffs.take_over(call, answer, now_ms)
                output = _encoded({"handed_over_to": answer.role.agent})
                told = self.finished(tool_call_id, ToolStatus.OK, output, 0.0, now_ms, connected=connected)
                return [*entered, *told]
            case _:
                assert_never(answer)

    def confirmed(self, item: Event, now_ms: int) -> None:
        """The service has an output in the conversation. One that had been lost has had no reply either."""
        tool_call_id = text(item, "call_id")
        self._responses.output_confirmed(tool_call_id)
        if tool_call_id in self._resent:
            self._resent.discard(tool_call_id)
            self._responses.owe_reply(now_ms)

    def refused(self, event_id: str, code: str) -> bool:
        """The service refused a client event. Returns whether it was an output that it has already."""
        tool_call_id = self._book.call_of_item(event_id)
        if tool_call_id:
            self._responses.output_confirmed(tool_call_id)
            self._resent.discard(tool_call_id)
        return bool(tool_call_id) and code == DUPLICATE_ITEM

    def resend(self) -> list[Effect]:
        """Send outputs again that may have been lost with the connection; a second copy is refused."""
        unconfirmed = ((call, self._book.output_of(call)) for call in self._responses.unconfirmed_outputs())
        lost = {call: output for call, output in sorted(unconfirmed, key=lambda pair: pair[0]) if output}
        self._resent = set(lost)
        return [Send(event=function_call_output(*sent), after_commit=True) for sent in lost.items()]

    def take_up(self, now_ms: int) -> list[Effect]:
        """Continue the calls that an earlier owner began; only once."""
        begun, self._unanswered = self._unanswered, ()
        return [effect for call in begun for effect in self._continue(call, now_ms)]

    def found_last(self, item: Event, now_ms: int) -> list[Effect]:
        """Take the last item of a conversation in which nobody listened for a while."""
        tool_call_id = text(item, "call_id")
        match text(item, "type"):
            case "function_call":
                if not self._book.output_of(tool_call_id):
                    return self.called(item, "", now_ms)
                self._responses.want_reply()  # its output is sent again now
            case "function_call_output":
                self._responses.output_confirmed(tool_call_id)
                self._resent.discard(tool_call_id)
                answered_alone = not self._book.siblings_running(tool_call_id)
                if answered_alone and not self._responses.active_response:
                    self._responses.owe_reply(now_ms)
            case "message" if text(item, "role") == "user" and not self._responses.active_response:
                self._responses.owe_reply(now_ms)
            case _:
                pass
        return []

    def _start(self, call: ToolCalled, now_ms: int) -> list[Effect]:
        role = self._cast.named(call.agent)
        if not role.has(call.name):
            known = ", ".join(role.tool_names) or "none"
            output = _error_output("unknown_tool", f"There is no tool {call.name!r}. Known tools: {known}.")
            return self.finished(call.tool_call_id, ToolStatus.INVALID, output, 0.0, now_ms)
        if self._hold is not None and (held := self._hold(call)):
            return self._refused(call, held, now_ms)
        if call.name in role.handoffs:
            asked = self._handoffs.ask(call)
            return [asked] if isinstance(asked, EnterAgent) else self._refused(call, asked, now_ms)
        if refusal := gate(self._standing, call, role.requires.get(call.name, ())):
            return self._refused(call, refusal, now_ms)
        if call.execution is ToolExecution.CONVERSATION and self._act is not None:
            return self._act(call, now_ms, begun=False)
        return self._run(call, now_ms)

    def _refused(self, call: ToolCalled, refusal: Refusal, now_ms: int) -> list[Effect]:
        output = _error_output(refusal.code, refusal.message)
        return self.finished(call.tool_call_id, ToolStatus.ERROR, output, 0.0, now_ms)

    def _run(self, call: ToolCalled, now_ms: int) -> list[Effect]:
        self._words.began(call.tool_call_id, self._book.manners_of(call.tool_call_id), now_ms)
        match call.execution:
            case ToolExecution.INLINE:
                return [
                    RunInline(
                        tool_call_id=call.tool_call_id,
                        name=call.name,
                        arguments=call.arguments,
                        agent=call.agent,
                        facts=self._standing.now.facts,
                    )
                ]
            case ToolExecution.DURABLE:
                return [_start_durable(call)]
            case ToolExecution.CONVERSATION:
                return []
            case _:
                assert_never(call.execution)

    def _continue(self, call: ToolCalled, now_ms: int) -> list[Effect]:
        # Whatever was refused has its output since it was recorded. So this was begun, also where the tool is
        # not known here: its server may never have answered this worker, or its agent may have changed.
        role = self._cast.named(call.agent)
        if call.execution is ToolExecution.DURABLE:
            return self._run(call, now_ms)
        if call.execution is ToolExecution.CONVERSATION and self._act is not None:
            return self._act(call, now_ms, begun=True)
        if call.name in role.repeatable or call.name in role.handoffs:
            return self._start(call, now_ms)
        output = _error_output(
            "outcome_unknown",
            "The tool was cut off while it ran. Whether it took effect is not known: say so, and check "
            "before you try again.",
        )
        return self.finished(call.tool_call_id, ToolStatus.UNKNOWN, output, 0.0, now_ms)


def _start_durable(call: ToolCalled) -> StartDurable:
    return StartDurable(
        tool_call_id=call.tool_call_id, name=call.name, arguments=call.arguments, agent=call.agent
    )


def _error_output(code: str, message: str) -> str:
    return _encoded({"error": {"code": code, "message": message}})


def _encoded(output: Mapping[str, object]) -> str:
    return msgspec.json.encode(output).decode()
