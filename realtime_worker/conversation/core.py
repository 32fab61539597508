"""One conversation as a state machine: events in, effects out."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import msgspec

from realtime_worker.conversation.effects import (
    ConsumeInbox,
    Effect,
    Finish,
    HangUp,
    Record,
    RunInline,
    Send,
    SetState,
    StartDurable,
)
from realtime_worker.conversation.recent import RecentIds
from realtime_worker.conversation.responses import ResponseSequencer, Utterance
from realtime_worker.conversation.setup import ConversationSetup, Phase
from realtime_worker.conversation.tail_probe import RETRIEVAL, TailProbe
from realtime_worker.conversation.tool_calls import ToolBook
from realtime_worker.conversation.turns import TurnTracker
from realtime_worker.conversation.usage_meter import UsageMeter
from realtime_worker.conversation.wire import (
    Event,
    function_call_output,
    part,
    parts,
    request_of,
    spoken_text,
    text,
)
from shared.session.commands import EndCall, InboxEntry, Say, ToolResult
from shared.session.log import (
    Attached,
    CommandReceived,
    ErrorRecorded,
    Interrupted,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolStatus,
    TurnStatus,
)
from shared.session.model import EndReason, SessionState

# How long a goodbye may take before the call ends without it.
GOODBYE_MS = 15_000
# A provider's error text is kept for diagnosis, not as an archive.
MAX_DETAIL = 500

# What the service says to an item whose id it has already.
DUPLICATE_ITEM = "item_create_duplicate_item_id"

_GOODBYE = "goodbye"


class Conversation:
    """The state machine. Every method returns the effects of what it was told, in order."""

    def __init__(self, setup: ConversationSetup) -> None:
        self._setup = setup
        self._phase = Phase.CONFIGURING
        self._connected = setup.resumed
        self._greeted = setup.resumed
        self._opened_at_ms = 0
        self._reconciled = False
        self._responses = ResponseSequencer(f"rsp_{setup.epoch}_")
        self._probe = TailProbe(f"probe_{setup.epoch}_")
        self._tools = ToolBook(setup.executions)
        self._tools.restore(setup.unanswered, setup.answered)
        self._turns = TurnTracker()
        self._usage = UsageMeter(setup.usage)
        self._recent = RecentIds()
        self._end_reason = ""
        self._leave_by_ms: int | None = None
        self._goodbye_response = ""

    @property
    def phase(self) -> Phase:
        return self._phase

    def next_deadline_ms(self) -> int | None:
        """Return when `tick` wants to be called next, or None."""
        deadlines = [self._leave_by_ms, self._responses.next_deadline_ms()]
        return min((d for d in deadlines if d is not None), default=None)

    # --- the connection ---------------------------------------------------------------------

    def opened(self, now_ms: int) -> list[Effect]:
        """The sideband is open, for the first time or again."""
        self._opened_at_ms = now_ms
        return [Send(event=self._setup.configuration)]

    def lost(self) -> None:
        """The sideband closed; the call may go on. Nothing may be sent until `opened`."""
        if self._phase is not Phase.OVER:
            self._phase = Phase.CONFIGURING
        self._responses.lose_connection()

    def gone(self, now_ms: int) -> list[Effect]:
        """The provider no longer knows the call."""
        return self._finish(self._end_reason or EndReason.CALLER_HUNG_UP, now_ms, hang_up=False)

    def failed(self, code: str, detail: str, now_ms: int) -> list[Effect]:
        """The call can't go on: the provider stays unreachable, or refuses us."""
        if self._phase is Phase.OVER:
            return []
        entry = ErrorRecorded(source="provider", code=code, detail=detail[:MAX_DETAIL], at_ms=now_ms)
        return [Record(entry=entry), *self._finish(EndReason.PROVIDER_FAILED, now_ms)]

    # --- what the provider says ---------------------------------------------------------------

    def provider_event(self, event: Event, now_ms: int) -> list[Effect]:
        """Take a server event. Unknown types and repeated events have no effect."""
        kind = text(event, "type")
        if self._phase is Phase.OVER or (kind.endswith(".delta") and kind != "response.output_audio.delta"):
            return []
        if not self._recent.first_time(text(event, "event_id")):
            return []
        return [*self._react(kind, event, now_ms), *self._responses.pump(now_ms)]

    def _react(self, kind: str, event: Event, now_ms: int) -> list[Effect]:
        match kind:
            case "session.updated":
                return self._configured(now_ms)
            case "input_audio_buffer.speech_started":
                self._turns.caller_started(text(event, "item_id"), now_ms)
                self._responses.caller_started()
            case "input_audio_buffer.speech_stopped":
                self._turns.caller_stopped(now_ms)
                self._responses.caller_stopped(now_ms)
            case "conversation.item.added" | "conversation.item.created" | "conversation.item.done":
                item = part(event, "item")
                probing = self._probe.added(item, text(event, "previous_item_id"))
                return [*probing, *self._item(item, now_ms)]
            case "conversation.item.retrieved":
                return self._last_said(part(event, "item"), now_ms)
            case "conversation.item.input_audio_transcription.completed":
                return self._heard(event, text(event, "transcript").strip(), TurnStatus.COMPLETED, now_ms)
            case "conversation.item.input_audio_transcription.failed":
                return self._heard(event, "", TurnStatus.FAILED, now_ms)
            case "response.created":
                self._response_created(part(event, "response"), now_ms)
            case "output_audio_buffer.started" | "response.output_audio.delta":
                self._turns.audio_started(text(event, "response_id"), now_ms)
            case "output_audio_buffer.stopped":
                return self._audio_over(text(event, "response_id"), now_ms)
            case "output_audio_buffer.cleared":
                return self._audio_cleared(text(event, "response_id"), now_ms)
            case "response.output_item.done":
                return self._calls(part(event, "item"), text(event, "response_id"), now_ms)
            case "response.done":
                return self._response_done(part(event, "response"), now_ms)
            case "error":
                return self._error(part(event, "error"), now_ms)
            case _:
                pass
        return []

    def _configured(self, now_ms: int) -> list[Effect]:
        if self._phase is not Phase.CONFIGURING:
            return []
        self._phase = Phase.TALKING if not self._end_reason else Phase.LEAVING
        setup = self._setup
        attached = Attached(
            worker=setup.worker,
            epoch=setup.epoch,
            call_id=setup.call_id,
            took_ms=float(now_ms - self._opened_at_ms),
            at_ms=now_ms,
        )
        effects: list[Effect] = [Record(entry=attached)]
        again = self._connected
        if not self._connected:
            self._connected = True
            effects.append(SetState(state=SessionState.ACTIVE, at_ms=now_ms))
        self._responses.open()
        if not self._greeted and setup.greeting:
            self._responses.want_utterance(Utterance(key="greeting", text=setup.greeting))
        self._greeted = True
        for tool_call_id in sorted(self._responses.unconfirmed_outputs()):
            output = self._tools.output_of(tool_call_id)
            if output is not None:  # it may have been lost with the connection; a second copy is refused
                effects.append(Send(event=function_call_output(tool_call_id, output), after_commit=True))
        if again:
            effects.extend(replace(send, after_commit=True) for send in self._probe.start())
        if not self._reconciled:
            self._reconciled = True
            for called in setup.unanswered:
                effects.extend(self._take_up(called, now_ms))
        return effects

    def _item(self, item: Event, now_ms: int) -> list[Effect]:
        match text(item, "type"), text(item, "role"):
            case "function_call_output", _:
                self._responses.output_confirmed(text(item, "call_id"))
            case "message", "user" if any(text(c, "type") == "input_text" for c in parts(item, "content")):
                turn = self._turns.user_turn(
                    text(item, "id"), spoken_text(item), TurnStatus.COMPLETED, now_ms
                )
                return [Record(entry=turn)] if turn else []
            case _:
                pass
        return []

    def _last_said(self, item: Event, now_ms: int) -> list[Effect]:
        """Take up what was left open while nobody listened."""
        if not self._probe.found(item):
            return []
        match text(item, "type"):
            case "function_call":
                output = self._tools.output_of(text(item, "call_id"))
                return (
                    self._answer(text(item, "call_id"), output) if output else self._calls(item, "", now_ms)
                )
            case "function_call_output":
                waiting = self._tools.siblings_running(text(item, "call_id"))
                if not waiting and not self._responses.active_response:
                    self._responses.owe_reply(now_ms)
            case _:
                pass
        return []

    def _heard(self, event: Event, said: str, status: TurnStatus, now_ms: int) -> list[Effect]:
        turn = self._turns.user_turn(text(event, "item_id"), said, status, now_ms)
        effects: list[Effect] = [Record(entry=turn)] if turn else []
        if turn and status is TurnStatus.FAILED:
            code = text(part(event, "error"), "code") or "transcription_failed"
            detail = text(part(event, "error"), "message")[:MAX_DETAIL]
            effects.append(
                Record(entry=ErrorRecorded(source="provider", code=code, detail=detail, at_ms=now_ms))
            )
        return effects

    def _response_created(self, response: Event, now_ms: int) -> None:
        self._turns.response_started(text(response, "id"), now_ms)
        utterance = self._responses.created(text(response, "id"), request_of(response))
        if utterance is not None and utterance.key == _GOODBYE:
            self._goodbye_response = text(response, "id")

    def _audio_over(self, response_id: str, now_ms: int) -> list[Effect]:
        if response_id and response_id == self._goodbye_response:
            return self._finish(self._end_reason, now_ms)
        return []

    def _audio_cleared(self, response_id: str, now_ms: int) -> list[Effect]:
        if response_id and response_id == self._goodbye_response:
            return self._finish(self._end_reason, now_ms)
        if self._turns.cut_short(response_id):
            return [Record(entry=Interrupted(response_id=response_id, at_ms=now_ms))]
        return []

    def _response_done(self, response: Event, now_ms: int) -> list[Effect]:
        response_id = text(response, "id")
        failed = text(response, "status") == "failed"
        turns = self._turns.agent_turns(response, self._setup.agent, now_ms)
        effects: list[Effect] = [Record(entry=turn) for turn in turns]
        took_ms = self._turns.response_took(response_id, now_ms)
        effects.extend(self._usage.count(response, took_ms, now_ms))
        effects.extend(self._calls(response, response_id, now_ms))
        utterance = self._responses.done(response_id, failed=failed, now_ms=now_ms)
        if failed:
            error = part(part(response, "status_details"), "error")
            entry = ErrorRecorded(
                source="provider",
                code=text(error, "code") or "response_failed",
                detail=text(error, "message")[:MAX_DETAIL],
                at_ms=now_ms,
            )
            effects.append(Record(entry=entry))
        elif utterance is not None and utterance.key == _GOODBYE and not turns:
            # Nothing was said, so no audio will end: do not wait for it.
            effects.extend(self._finish(self._end_reason, now_ms))
        return effects

    def _error(self, error: Event, now_ms: int) -> list[Effect]:
        code = text(error, "code")
        busy = code == "conversation_already_has_active_response"
        about = text(error, "event_id")
        if self._responses.refused(about, busy=busy) and busy:
            return []
        answered = self._tools.call_of_item(about)
        if answered:
            self._responses.output_confirmed(answered)
            if code == DUPLICATE_ITEM:
                return []  # sent again after a lost connection, and it had arrived
        if about == RETRIEVAL:
            return []
        if about and about == text(self._setup.configuration, "event_id"):
            return self.failed("configuration_refused", f"{code}: {text(error, 'message')}", now_ms)
        if code == "response_cancel_not_active":
            return []  # it ended by itself while our cancel was on its way
        entry = ErrorRecorded(
            source="provider",
            code=code or text(error, "type") or "unknown",
            detail=text(error, "message")[:MAX_DETAIL],
            at_ms=now_ms,
        )
        effects: list[Effect] = [Record(entry=entry)]
        if code == "session_expired":
            effects.extend(self._finish(EndReason.MAX_DURATION, now_ms, hang_up=False))
        return effects

    # --- tools --------------------------------------------------------------------------------

    def _calls(self, event: Event, response_id: str, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        for called in self._tools.open_calls(event, response_id, now_ms):
            effects.append(Record(entry=called))
            effects.extend(self._start(called, now_ms))
        return effects

    def _start(self, called: ToolCalled, now_ms: int) -> list[Effect]:
        if not self._tools.knows(called.name):
            known = ", ".join(self._tools.names) or "none"
            output = _error_output("unknown_tool", f"There is no tool {called.name!r}. Known tools: {known}.")
            return self.tool_finished(called.tool_call_id, ToolStatus.INVALID, output, 0.0, now_ms)
        match called.execution:
            case ToolExecution.INLINE:
                return [
                    RunInline(tool_call_id=called.tool_call_id, name=called.name, arguments=called.arguments)
                ]
            case ToolExecution.DURABLE:
                return [
                    StartDurable(
                        tool_call_id=called.tool_call_id, name=called.name, arguments=called.arguments
                    )
                ]
            case _:
                assert_never(called.execution)

    def _answer(self, tool_call_id: str, output: str) -> list[Effect]:
        """Send a recorded output that the service does not have."""
        self._responses.output_sent(tool_call_id)
        self._responses.want_reply()
        return [Send(event=function_call_output(tool_call_id, output), after_commit=True)]

    def _take_up(self, called: ToolCalled, now_ms: int) -> list[Effect]:
        """Continue a call that an earlier owner began."""
        cut_off = called.execution is ToolExecution.INLINE and called.name not in self._setup.repeatable
        if cut_off and self._tools.knows(called.name):
            output = _error_output(
                "outcome_unknown",
                "The tool was cut off while it ran. Whether it took effect is not known: say so, and check "
                "before you try again.",
            )
            return self.tool_finished(called.tool_call_id, ToolStatus.UNKNOWN, output, 0.0, now_ms)
        return self._start(called, now_ms)

    def tool_finished(
        self, tool_call_id: str, status: ToolStatus, output: str, duration_ms: float, now_ms: int
    ) -> list[Effect]:
        """A tool call has its outcome; a second one for the same call has no effect."""
        if self._phase is Phase.OVER:
            return []
        name = self._tools.settle(tool_call_id, output)
        if name is None:
            return []
        entry = ToolFinished(
            tool_call_id=tool_call_id,
            name=name,
            status=status,
            output=output,
            duration_ms=round(duration_ms, 3),
            at_ms=now_ms,
        )
        effects: list[Effect] = [Record(entry=entry)]
        self._responses.output_sent(tool_call_id)
        if self._phase is not Phase.CONFIGURING:
            effects.append(Send(event=function_call_output(tool_call_id, output), after_commit=True))
        if not self._tools.siblings_running(tool_call_id):
            self._responses.want_reply()
        return [*effects, *self._responses.pump(now_ms)]

    # --- commands and time ----------------------------------------------------------------------

    def command(self, received: InboxEntry, now_ms: int) -> list[Effect]:
        """Take a command from the inbox."""
        done: list[Effect] = [ConsumeInbox(entry_id=received.entry_id)]
        if self._phase is Phase.OVER:
            return []
        match received.command:
            case ToolResult(tool_call_id=tool_call_id, status=status, output=output, duration_ms=duration_ms):
                return [*self.tool_finished(tool_call_id, status, output, duration_ms, now_ms), *done]
            case Say(text=words):
                self._responses.want_utterance(Utterance(key=received.entry_id, text=words))
                noted = CommandReceived(command="say", at_ms=now_ms)
                return [Record(entry=noted), *done, *self._responses.pump(now_ms)]
            case EndCall(reason=reason, goodbye=goodbye):
                noted = CommandReceived(command="end_call", detail=reason, at_ms=now_ms)
                return [Record(entry=noted), *done, *self._leave(reason, goodbye, now_ms)]
            case _:
                assert_never(received.command)

    def _leave(self, reason: str, goodbye: str, now_ms: int) -> list[Effect]:
        if not goodbye or self._phase is Phase.CONFIGURING:
            return self._finish(reason, now_ms)
        if self._phase is Phase.LEAVING:
            return []
        self._phase = Phase.LEAVING
        self._end_reason = reason
        self._leave_by_ms = now_ms + GOODBYE_MS
        self._responses.drop_wishes()
        self._responses.want_utterance(Utterance(key=_GOODBYE, text=goodbye))
        effects: list[Effect] = []
        if self._responses.active_response:
            cancel = {"type": "response.cancel", "response_id": self._responses.active_response}
            effects.append(Send(event=cancel))
        return [*effects, *self._responses.pump(now_ms)]

    def tick(self, now_ms: int) -> list[Effect]:
        """Time has passed; call it at `next_deadline_ms` or later."""
        if self._phase is Phase.OVER:
            return []
        if self._leave_by_ms is not None and now_ms >= self._leave_by_ms:
            return self._finish(self._end_reason, now_ms)
        return [*self._responses.pump(now_ms)]

    def _finish(self, reason: str, now_ms: int, *, hang_up: bool = True) -> list[Effect]:
        if self._phase is Phase.OVER:
            return []
        self._phase = Phase.OVER
        self._leave_by_ms = None
        ended: list[Effect] = [SetState(state=SessionState.ENDED, reason=reason, at_ms=now_ms)]
        if hang_up:
            ended.append(HangUp())
        return [*ended, Finish(reason=reason)]


def _error_output(code: str, message: str) -> str:
    return msgspec.json.encode({"error": {"code": code, "message": message}}).decode()
