"""One conversation as a state machine: events in, effects out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from realtime_worker.conversation import turn_records
from realtime_worker.conversation.call_flow import CallActions, CallFlow
from realtime_worker.conversation.connection_flow import ConnectionFlow
from realtime_worker.conversation.effects import ChangeSession, Effect, Record, Send
from realtime_worker.conversation.interruption import is_truncation
from realtime_worker.conversation.parts import Parts
from realtime_worker.conversation.recent import RecentIds
from realtime_worker.conversation.records import provider_error, told_error
from realtime_worker.conversation.response_flow import ResponseFlow
from realtime_worker.conversation.responses import Utterance
from realtime_worker.conversation.role import HandoffAnswer
from realtime_worker.conversation.seeding import is_seed
from realtime_worker.conversation.setup import ConversationSetup, Phase
from realtime_worker.conversation.wire import Event, part, text, whole
from shared.session.commands import EndCall, InboxEntry, ReportProgress, Say, Tell, ToolResult
from shared.session.log import GuardrailTripped, ToolStatus
from shared.session.model import EndReason, FactValue

_SIGNS_OF_LIFE = frozenset(
    {
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.dtmf_event_received",
        "conversation.item.done",
        "response.done",
        "output_audio_buffer.stopped",
        "output_audio_buffer.cleared",
    }
)


class Conversation:
    """The state machine. Every method returns the effects of what it was told, in order."""

    def __init__(self, setup: ConversationSetup) -> None:
        self._phase = Phase.CONFIGURING
        self._recent = RecentIds()
        parts = Parts(setup)
        self._responses = parts.responses
        self._own = parts.own
        self._cast = parts.cast
        self._tools = parts.tools
        self._words = parts.tools.words
        self._turns = parts.turns
        self._watch = parts.watch
        self._inbox = parts.inbox
        self._notices = parts.notices
        self._keypad = parts.keypad
        self._ending = parts.ending
        actions = CallActions(greet=self._greet, leave=self._leave, finish=self._finish)
        self._call = CallFlow(setup, parts.cast, parts.tools, parts.responses, parts.inbox, actions)
        self._connection = ConnectionFlow(setup, parts, self._call, actions)
        self._response = ResponseFlow(parts, self._call, actions, find_out=self._connection.find_out)

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def quiet(self) -> bool:
        """Whether nobody speaks or is about to: another owner would miss nothing while it attaches."""
        return not (self._responses.busy or self._keypad.collecting or self._call.busy)

    @property
    def interruptible(self) -> bool:
        """Whether the caller may interrupt what is being said, as far as the agent lets them at all."""
        return not self._call.announcing

    def next_deadline_ms(self) -> int | None:
        """Return when `tick` wants to be called next, or None."""
        if self._phase is Phase.OVER:
            return None
        held_until = self._connection.hold_until_ms
        deadlines = [self._ending.by_ms, held_until, self._responses.next_deadline_ms()]
        if self._phase is Phase.TALKING:
            deadlines.append(self._watch.next_deadline_ms())
            deadlines.append(self._words.next_deadline_ms())
            if held_until is None:
                deadlines += [self._keypad.next_deadline_ms(), self._call.next_deadline_ms()]
            if self._own is not None:
                deadlines.append(self._own.next_deadline_ms())
        times = [at for at in deadlines if at is not None]
        return min(times) if times else None

    # --- the connection ---------------------------------------------------------------------

    def opened(self, now_ms: int) -> list[Effect]:
        """The connection to the provider is open, for the first time or again."""
        if self._phase is Phase.OVER:
            return []
        if self._own is not None:
            self._recent = RecentIds()
        return self._noted(self._connection.opened(now_ms))

    def lost(self) -> None:
        """The connection closed; the call may go on. Nothing may be sent until `opened`."""
        if self._phase is not Phase.OVER:
            self._phase = Phase.CONFIGURING
        self._connection.lost()

    def gone(self, now_ms: int, *, handed_over: bool = False) -> list[Effect]:
        """The provider no longer knows the call; `handed_over`: it was asked to transfer it."""
        over = EndReason.PROVIDER_LIMIT if self._watch.provider_is_over(now_ms) else EndReason.CALLER_HUNG_UP
        if handed_over:
            over = EndReason.TRANSFERRED
        return self._finish(self._ending.reason or over, now_ms, hang_up=False)

    def failed(self, code: str, detail: str, now_ms: int) -> list[Effect]:
        """The call can't go on: the provider stays unreachable, or refuses us."""
        if self._phase is Phase.OVER:
            return []
        return [provider_error(code, detail, now_ms), *self._finish(EndReason.PROVIDER_FAILED, now_ms)]

    # --- what the provider says ---------------------------------------------------------------

    def provider_event(self, event: Event, now_ms: int) -> list[Effect]:
        """Take a server event. Unknown types and repeated events have no effect."""
        kind = text(event, "type")
        if self._phase is Phase.OVER or (kind.endswith(".delta") and kind != "response.output_audio.delta"):
            return []
        if not self._recent.first_time(text(event, "event_id")):
            return []
        if kind in _SIGNS_OF_LIFE:
            self._watch.activity(now_ms)
        effects = self._noted(self._react(kind, event, now_ms))
        if self._connection.hold_until_ms is not None and self._connection.nothing_missing:
            effects = [*effects, *self._connection.go_on(now_ms)]
        if not self._words.idle:
            self._fill_silence(now_ms)
        requests = self._responses.pump(now_ms)
        return [*effects, *requests] if requests else effects

    def _noted(self, effects: list[Effect]) -> list[Effect]:
        """Keep what a later provider session must be told."""
        if self._own is not None:
            self._own.note(effects)
        return effects

    def _react(self, kind: str, event: Event, now_ms: int) -> list[Effect]:
        match kind:
            case "session.created":
                return self._connection.created(part(event, "session"), now_ms)
            case "session.updated":
                return self._session_updated(part(event, "session"), now_ms)
            case "input_audio_buffer.speech_started":
                self._turns.caller_started(text(event, "item_id"), now_ms)
                self._responses.caller_started()
                if self._keypad.interrupts and self.interruptible:
                    return self._tools.interrupted(now_ms, connected=self._sendable)
            case "input_audio_buffer.speech_stopped":
                self._turns.caller_stopped(now_ms)
                self._responses.caller_stopped(now_ms)
            case "conversation.item.added" | "conversation.item.created" | "conversation.item.done":
                item = part(event, "item")
                item_id = text(item, "id")
                asked = self._connection.item_added(item, text(event, "previous_item_id"))
                told = self._notices.settled(item_id, now_ms)
                self._keypad.settled(item_id)
                happened = self._item(item_id, item, now_ms)
                return [*asked, *told, *happened] if asked or told else happened
            case "conversation.item.retrieved":
                return self._connection.retrieved(part(event, "item"), now_ms)
            case "conversation.item.input_audio_transcription.completed":
                return turn_records.transcribed(self._turns, event, now_ms)
            case "conversation.item.input_audio_transcription.failed":
                return turn_records.not_transcribed(self._turns, event, now_ms)
            case "response.created":
                return self._response.created(part(event, "response"), now_ms)
            case "output_audio_buffer.started":
                return turn_records.audible(self._turns, text(event, "response_id"), now_ms)
            case "response.output_audio.delta":
                self._turns.audio_started(text(event, "response_id"), now_ms)
            case "output_audio_buffer.stopped" | "output_audio_buffer.cleared":
                cleared = kind == "output_audio_buffer.cleared"
                return self._response.audio_over(event, now_ms, cleared=cleared)
            case "input_audio_buffer.dtmf_event_received":
                return self._keypad.pressed(text(event, "event"), now_ms, interrupts=self.interruptible)
            case "response.output_item.done":
                return self._tools.called(part(event, "item"), text(event, "response_id"), now_ms)
            case "response.done":
                done = self._response.done(part(event, "response"), now_ms)
                return [*done, *self._within_limits(now_ms)]
            case "error":
                return self._error(part(event, "error"), now_ms)
            case _:
                pass
        return []

    def _session_updated(self, session: Event, now_ms: int) -> list[Effect]:
        if self._own is None:
            self._watch.provider_ends_at(whole(session, "expires_at") * 1000)
        if self._phase is not Phase.CONFIGURING:
            return self._connection.reconfigured(session, now_ms)
        self._phase = Phase.LEAVING if self._ending.reason else Phase.TALKING
        return self._connection.configured(session, now_ms, talking=self._phase is Phase.TALKING)

    def _greet(self) -> bool:
        return self._connection.greet()

    def _item(self, item_id: str, item: Event, now_ms: int) -> list[Effect]:
        if is_seed(item_id):
            return []
        match text(item, "type"):
            case "function_call_output":
                self._tools.confirmed(item, now_ms)
            case "message" if text(item, "role") == "user":
                return turn_records.written(self._turns, item, now_ms)
            case _:
                pass
        return []

    def _error(self, error: Event, now_ms: int) -> list[Effect]:
        code = text(error, "code")
        busy = code == "conversation_already_has_active_response"
        about = text(error, "event_id")
        if self._responses.refused(about, now_ms, busy=busy) and busy:
            return []
        if self._connection.not_retrieved(about):
            return []
        if self._tools.refused(about, code):
            return []
        if self._keypad.settled(about) or is_truncation(about):
            return []
        if told := self._notices.settled(about, now_ms):
            return told
        if self._cast.sent_as(about):
            return self.failed("configuration_refused", f"{code}: {text(error, 'message')}", now_ms)
        if code == "response_cancel_not_active":
            return []  # it ended by itself while our cancel was on its way
        effects: list[Effect] = [told_error(error, text(error, "type") or "unknown", now_ms)]
        if code != "session_expired":
            return effects
        if self._own is not None:
            return [*effects, ChangeSession()]
        return [*effects, *self._finish(EndReason.PROVIDER_LIMIT, now_ms, hang_up=False)]

    # --- tools --------------------------------------------------------------------------------

    def tool_finished(
        self,
        tool_call_id: str,
        status: ToolStatus,
        output: str,
        duration_ms: float,
        now_ms: int,
        facts: Mapping[str, FactValue | None] = {},
    ) -> list[Effect]:
        """A tool call has its outcome; a second one for the same call has no effect."""
        if self._phase is Phase.OVER:
            return []
        effects = self._tools.finished(
            tool_call_id, status, output, duration_ms, now_ms, facts=facts, connected=self._sendable
        )
        return [*self._noted(effects), *self._responses.pump(now_ms)]

    def tool_asks(self, tool_call_id: str, now_ms: int) -> list[Effect]:
        """An inline tool needs a person's approval: its call goes on as a durable one."""
        if self._phase is Phase.OVER:
            return []
        return [*self._tools.asks(tool_call_id, now_ms), *self._responses.pump(now_ms)]

    def tool_progressed(self, tool_call_id: str, words: str, now_ms: int) -> list[Effect]:
        """A running tool has something for the caller; it is said when nobody speaks."""
        if self._phase is Phase.OVER:
            return []
        effects = self._tools.progressed(tool_call_id, words, now_ms)
        self._fill_silence(now_ms)
        return [*effects, *self._responses.pump(now_ms)]

    def _fill_silence(self, now_ms: int) -> None:
        """Say what tools want said while they run, when it is time."""
        talking = self._phase is Phase.TALKING and self._connection.hold_until_ms is None
        self._words.due(now_ms, silent=talking and not (self._responses.busy or self._turns.playing))

    def handoff_answered(self, tool_call_id: str, answer: HandoffAnswer, now_ms: int) -> list[Effect]:
        """The agent that an EnterAgent asked for is ready, or can't take over."""
        if self._phase is Phase.OVER:
            return []
        effects = self._tools.handoff_answered(tool_call_id, answer, now_ms, connected=self._sendable)
        if self._phase is not Phase.CONFIGURING:
            effects = [*self._call.change(), *effects]  # first who speaks, then what about
        if self._phase is Phase.TALKING:
            self._call.begin(now_ms)
        return [*self._noted(effects), *self._responses.pump(now_ms)]

    def guardrail_tripped(self, rule: str, response_id: str, instead: str, now_ms: int) -> list[Effect]:
        """The agent began to say what it must not: cut it off, and have `instead` said."""
        if self._phase is Phase.OVER:
            return []
        speaker = self._cast.of_response(response_id).agent
        entry = GuardrailTripped(rule=rule, agent=speaker, response_id=response_id, at_ms=now_ms)
        effects: list[Effect] = [Record(entry=entry)]
        if self._responses.active_response == response_id:
            effects.append(Send(event={"type": "response.cancel", "response_id": response_id}))
        if self._own is None and self._turns.playing:
            effects.append(Send(event={"type": "output_audio_buffer.clear"}))
        if instead:
            self._responses.want_utterance(Utterance(key="guardrail", text=instead))
        return [*self._noted(effects), *self._responses.pump(now_ms)]

    @property
    def _sendable(self) -> bool:
        """Whether an item may be put into the conversation now."""
        return self._phase is not Phase.CONFIGURING and self._connection.hold_until_ms is None

    # --- commands and time ----------------------------------------------------------------------

    def command(self, received: InboxEntry, now_ms: int) -> list[Effect]:
        """Take a command from the inbox."""
        if self._phase is Phase.OVER:
            return []
        self._inbox.received(received.entry_id)
        match received.command:
            case ToolResult() as result:
                effects = self.tool_finished(
                    result.tool_call_id,
                    result.status,
                    result.output,
                    result.duration_ms,
                    now_ms,
                    result.facts,
                )
                return [*effects, *self._inbox.done(received.entry_id)]
            case ReportProgress(tool_call_id=tool_call_id, text=words):
                effects = self.tool_progressed(tool_call_id, words, now_ms)
                return [*effects, *self._inbox.done(received.entry_id)]
            case Say(text=words):
                self._responses.want_utterance(Utterance(key=received.entry_id, text=words))
                return [*self._responses.pump(now_ms)]
            case EndCall(reason=reason, goodbye=goodbye):
                self._ending.told(reason)
                return self._leave(reason, goodbye, now_ms)
            case Tell():
                self._notices.want(received.entry_id, received.command)
                sendable = self._phase is Phase.TALKING and self._connection.hold_until_ms is None
                return [*self._notices.send()] if sendable else []
            case _:
                assert_never(received.command)

    def _leave(self, reason: str, goodbye: str, now_ms: int) -> list[Effect]:
        if not goodbye or self._phase is Phase.CONFIGURING:
            return self._finish(reason, now_ms)
        if self._phase is Phase.LEAVING:
            return []
        self._phase = Phase.LEAVING
        return self._ending.say_goodbye(reason, goodbye, now_ms)

    def tick(self, now_ms: int) -> list[Effect]:
        """Time has passed; call it at `next_deadline_ms` or later."""
        if self._phase is Phase.OVER:
            return []
        if self._ending.by_ms is not None and now_ms >= self._ending.by_ms:
            return self._finish(self._ending.reason, now_ms)
        held_until = self._connection.hold_until_ms
        effects = self._connection.go_on(now_ms) if held_until is not None and now_ms >= held_until else []
        if self._phase is Phase.TALKING and self._connection.hold_until_ms is None:
            effects = [*effects, *self._noted([*self._keypad.typed(now_ms), *self._call.tick(now_ms)])]
        self._fill_silence(now_ms)
        return [*effects, *self._within_limits(now_ms), *self._renew(now_ms), *self._responses.pump(now_ms)]

    def prepared(self, now_ms: int, *, succeeded: bool) -> list[Effect]:
        """Another provider session is open; or it could not be opened, or was lost while it waited."""
        if self._own is None:
            return []
        self._own.prepared(now_ms, succeeded=succeeded)
        return self._renew(now_ms)

    def _renew(self, now_ms: int) -> list[Effect]:
        """Change to another provider session before the time of this one is over."""
        if self._own is None or self._phase is not Phase.TALKING:
            return []
        busy = self._turns.playing or self._tools.inline_running or self._keypad.collecting or self._call.busy
        quiet = self._responses.quiet(now_ms) and not busy
        return self._own.renew(now_ms, quiet=quiet)

    def _within_limits(self, now_ms: int) -> list[Effect]:
        """End the call, with a farewell, when a limit is reached."""
        if self._phase is not Phase.TALKING:
            return []
        busy = self._responses.busy or self._turns.playing or self._tools.waiting
        reason = self._watch.exceeded(now_ms, busy=busy)
        return self._leave(reason, self._cast.role.farewell, now_ms) if reason else []

    def _finish(self, reason: str, now_ms: int, *, hang_up: bool = True) -> list[Effect]:
        if self._phase is Phase.OVER:
            return []
        self._phase = Phase.OVER
        self._responses.drop_wishes()
        return self._ending.effects(reason, now_ms, hang_up=hang_up)
