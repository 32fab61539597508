"""One conversation as a state machine: events in, effects out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from realtime_worker.conversation import turn_records
from realtime_worker.conversation.call_flow import CallActions, CallFlow, conversation_began
from realtime_worker.conversation.cast import Cast
from realtime_worker.conversation.effects import (
    ChangeSession,
    Effect,
    Record,
    Send,
    SetState,
)
from realtime_worker.conversation.ending import Ending
from realtime_worker.conversation.guard import ConfigurationGuard
from realtime_worker.conversation.inbox_progress import InboxProgress
from realtime_worker.conversation.interruption import is_truncation, truncations
from realtime_worker.conversation.keypad import Keypad
from realtime_worker.conversation.limits import LimitWatch
from realtime_worker.conversation.notices import Notices
from realtime_worker.conversation.own_sessions import OwnSessions
from realtime_worker.conversation.recent import RecentIds
from realtime_worker.conversation.records import provider_error, told_error
from realtime_worker.conversation.responses import ResponseSequencer, Utterance
from realtime_worker.conversation.role import HandoffAnswer
from realtime_worker.conversation.seeding import is_seed
from realtime_worker.conversation.setup import ConversationSetup, Phase
from realtime_worker.conversation.standing import StandingBook
from realtime_worker.conversation.tail_probe import RETRIEVAL, TailProbe
from realtime_worker.conversation.tool_flow import ToolFlow
from realtime_worker.conversation.turns import TurnTracker
from realtime_worker.conversation.usage_meter import UsageMeter
from realtime_worker.conversation.wire import (
    Event,
    part,
    request_of,
    text,
    whole,
)
from shared.session.commands import EndCall, InboxEntry, ReportProgress, Say, Tell, ToolResult
from shared.session.log import (
    Attached,
    CommandReceived,
    GuardrailTripped,
    ToolStatus,
)
from shared.session.model import EndReason, FactValue, SessionState, Standing

# How long the service may take to tell what was said last.
FIND_OUT_MS = 2_000

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
        self._setup = setup
        self._phase = Phase.CONFIGURING
        self._connected = setup.resumed
        self._opened_at_ms = 0
        self._guard = ConfigurationGuard()
        self._responses = ResponseSequencer(f"rsp_{setup.epoch}_")
        self._own = OwnSessions(setup.history, self._responses) if setup.own_session else None
        self._greeted = conversation_began(setup)
        self._probe = TailProbe(setup.epoch)
        role = setup.role
        self._cast = Cast(role, setup.earlier)
        standing = setup.standing or Standing(agent=role.agent, agent_version=role.version)
        self._tools = ToolFlow(setup, self._cast, StandingBook(standing), self._responses)
        self._turns = TurnTracker(setup.history)
        self._usage = UsageMeter(setup.usage, setup.prices)
        self._watch = LimitWatch(setup.limits)
        self._recent = RecentIds()
        self._inbox = InboxProgress()
        self._notices = Notices(self._inbox, self._responses)
        self._keypad = Keypad(setup, self._responses, self._turns)
        self._ending = Ending(self._responses)
        actions = CallActions(greet=self._greet, leave=self._leave, finish=self._finish)
        self._call = CallFlow(setup, self._cast, self._tools, self._responses, self._inbox, actions)
        self._hold_until_ms: int | None = None  # what was missed is being looked for

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
        deadlines = [self._ending.by_ms, self._hold_until_ms, self._responses.next_deadline_ms()]
        if self._phase is Phase.TALKING:
            deadlines.append(self._watch.next_deadline_ms())
            deadlines.append(self._tools.words.next_deadline_ms())
            if self._hold_until_ms is None:
                deadlines += [self._keypad.next_deadline_ms(), self._call.next_deadline_ms()]
            deadlines.append(self._own.next_deadline_ms() if self._own else None)
        return min((d for d in deadlines if d is not None), default=None)

    # --- the connection ---------------------------------------------------------------------

    def opened(self, now_ms: int) -> list[Effect]:
        """The connection to the provider is open, for the first time or again."""
        if self._phase is Phase.OVER:
            return []
        self._opened_at_ms = now_ms
        if self._own is None:
            return [self._call.configuration(self._cast.opened())]
        self._recent = RecentIds()
        self._keypad.forget_sent()
        unheard = self._turns.lose_session(now_ms)
        return self._noted([Record(entry=unheard)] if unheard else [])

    def lost(self) -> None:
        """The connection closed; the call may go on. Nothing may be sent until `opened`."""
        if self._phase is not Phase.OVER:
            self._phase = Phase.CONFIGURING
        self._hold_until_ms = None
        self._notices.lose_connection()
        if self._own is None:
            self._responses.lose_connection()
        else:
            self._responses.lose_session()
        self._call.lost(session=self._own is not None)

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
        if self._hold_until_ms is not None and not self._probe.pending:
            effects = [*effects, *self._go_on(now_ms)]
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
            case "session.created" if self._own is not None:
                self._own.began(part(event, "session"), now_ms)
                return [self._call.configuration(self._cast.opened())]
            case "session.updated":
                if self._own is None:
                    self._watch.provider_ends_at(whole(part(event, "session"), "expires_at") * 1000)
                if self._phase is Phase.CONFIGURING:
                    self._guard.confirm(part(event, "session"))
                    return self._configured(now_ms)
                return self._reconfigured(part(event, "session"), now_ms)
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
                probing = self._probe.added(item, text(event, "previous_item_id"))
                if self._probe.nothing_said:
                    self._greet()
                told = self._notices.settled(text(item, "id"), now_ms)
                self._keypad.settled(text(item, "id"))
                return [*probing, *told, *self._item(item, now_ms)]
            case "conversation.item.retrieved":
                item = part(event, "item")
                return self._found_last(item, now_ms) if self._probe.found(item) else []
            case "conversation.item.input_audio_transcription.completed":
                return turn_records.transcribed(self._turns, event, now_ms)
            case "conversation.item.input_audio_transcription.failed":
                return turn_records.not_transcribed(self._turns, event, now_ms)
            case "response.created":
                return self._response_created(part(event, "response"), now_ms)
            case "output_audio_buffer.started":
                return turn_records.audible(self._turns, text(event, "response_id"), now_ms)
            case "response.output_audio.delta":
                self._turns.audio_started(text(event, "response_id"), now_ms)
            case "output_audio_buffer.stopped" | "output_audio_buffer.cleared":
                cleared = kind == "output_audio_buffer.cleared"
                ended = self._audio_over(text(event, "response_id"), now_ms, cleared=cleared)
                return [*truncations(event), *ended] if cleared else ended
            case "input_audio_buffer.dtmf_event_received":
                return self._keypad.pressed(text(event, "event"), now_ms, interrupts=self.interruptible)
            case "response.output_item.done":
                return self._tools.called(part(event, "item"), text(event, "response_id"), now_ms)
            case "response.done":
                return self._response_done(part(event, "response"), now_ms)
            case "error":
                return self._error(part(event, "error"), now_ms)
            case _:
                pass
        return []

    def _configured(self, now_ms: int) -> list[Effect]:
        self._phase = Phase.LEAVING if self._ending.reason else Phase.TALKING
        self._cast.configured()
        setup = self._setup
        attached = Attached(
            worker=setup.worker,
            epoch=setup.epoch,
            call_id=setup.call_id if self._own is None else self._own.session_id,
            took_ms=float(now_ms - self._opened_at_ms),
            agent=self._cast.role.agent,
            agent_version=self._cast.role.version,
            at_ms=now_ms,
        )
        effects: list[Effect] = [Record(entry=attached)]
        effects.extend(self._cast.change())  # where the call was handed over since we opened
        again = self._connected
        if not self._connected:
            self._connected = True
            effects.append(SetState(state=SessionState.ACTIVE, at_ms=now_ms))
        if self._phase is Phase.TALKING:
            effects.extend(self._call.configured(now_ms))
        if self._own is None and again:
            # Behind an output of ours, what was missed would not be the last any more: first of all find it.
            self._hold_until_ms = now_ms + FIND_OUT_MS
            return [*effects, *self._find_out()]
        self._greet()
        if self._own is not None:
            effects.extend(self._own.seed())
        return [*effects, *self._go_on(now_ms)]

    def _go_on(self, now_ms: int) -> list[Effect]:
        """Send what waited for the connection, and until it was known what was missed without it."""
        self._hold_until_ms = None
        self._responses.open()
        lost = [*self._tools.resend(), *self._keypad.resend()] if self._own is None else []
        return [*lost, *self._tools.take_up(now_ms), *self._notices.send()]

    def _greet(self) -> bool:
        """Say the greeting unless it was said, or something comes before it; return whether it is said."""
        if self._greeted or not self._call.settled:
            return False
        self._greeted = True
        if self._setup.greeting:
            self._responses.want_utterance(Utterance(key="greeting", text=self._setup.greeting))
        return bool(self._setup.greeting)

    def _found_last(self, item: Event, now_ms: int) -> list[Effect]:
        """Take what was said or asked last while nobody listened."""
        if self._call.settled and not self._call.announced_last(text(item, "id")):
            self._greeted = True
        self._greet()
        turn = self._turns.missed(item, self._cast.role.agent, now_ms)
        missed: list[Effect] = [Record(entry=turn)] if turn else []
        return [*missed, *self._tools.found_last(item, now_ms)]

    def _find_out(self) -> list[Effect]:
        """Ask what was said last."""
        return [replace(send, after_commit=True) for send in self._probe.start()]

    def _reconfigured(self, session: Event, now_ms: int) -> list[Effect]:
        """The session changed and not by us. The caller's client can do that: it is put back, then ended."""
        if self._cast.confirms(session):
            self._guard.confirm(session)
            return []
        if not self._guard.overridden(session):
            return []
        told = "Somebody else on the call replaced the agent's instructions or tools."
        effects: list[Effect] = [provider_error("session_overridden", told, now_ms)]
        if self._guard.exhausted:
            return [*effects, *self._finish(EndReason.CLIENT_INTERFERED, now_ms)]
        return [*effects, self._call.configuration(Send(event=self._cast.configuration))]

    def _item(self, item: Event, now_ms: int) -> list[Effect]:
        if is_seed(text(item, "id")):
            return []
        match text(item, "type"), text(item, "role"):
            case "function_call_output", _:
                self._tools.confirmed(item, now_ms)
            case "message", "user":
                return turn_records.written(self._turns, item, now_ms)
            case _:
                pass
        return []

    def _response_created(self, response: Event, now_ms: int) -> list[Effect]:
        self._turns.response_started(text(response, "id"), now_ms)
        self._cast.began(text(response, "id"))
        utterance = self._responses.created(text(response, "id"), request_of(response))
        self._ending.begun(utterance, text(response, "id"))
        return [*self._call.response_began(utterance, text(response, "id"))]

    def _audio_over(self, response_id: str, now_ms: int, *, cleared: bool) -> list[Effect]:
        self._turns.audio_ended(response_id)
        if self._ending.spoken_in(response_id):
            return self._finish(self._ending.reason, now_ms)
        cut_short = turn_records.cut_short(self._turns, response_id, now_ms) if cleared else []
        return [*cut_short, *self._call.audio_over(response_id, now_ms, cleared=cleared)]

    def _response_done(self, response: Event, now_ms: int) -> list[Effect]:
        response_id = text(response, "id")
        failed = text(response, "status") == "failed"
        speaker = self._cast.of_response(response_id).agent
        turns = self._turns.agent_turns(response, speaker, now_ms)
        effects: list[Effect] = [Record(entry=turn) for turn in turns]
        took_ms = self._turns.response_took(response_id, now_ms)
        effects.extend(self._usage.count(response, took_ms, now_ms))
        self._watch.spent(self._usage.tokens, self._usage.cost_micros, self._usage.responses)
        effects.extend(self._tools.called(response, response_id, now_ms))
        utterance = self._responses.done(response_id, failed=failed, now_ms=now_ms)
        if failed:
            error = part(part(response, "status_details"), "error")
            effects.append(told_error(error, "response_failed", now_ms))
        if utterance is not None and self._inbox.waits(utterance.key):
            effects.append(Record(entry=CommandReceived(command="say", detail=utterance.key, at_ms=now_ms)))
            effects.extend(self._inbox.done(utterance.key))
        if self._ending.is_goodbye(utterance) and not failed and not turns:
            # Nothing was said, so no audio will end: do not wait for it.
            effects.extend(self._finish(self._ending.reason, now_ms))
        if self._responses.take_doubt():
            effects.extend(self._find_out())
        said = " ".join(turn.text for turn in turns)
        given_up = failed and utterance is not None
        status = text(response, "status")
        effects.extend(self._call.response_over(response_id, status, said, given_up=given_up, now_ms=now_ms))
        return [*effects, *self._within_limits(now_ms)]

    def _error(self, error: Event, now_ms: int) -> list[Effect]:
        code = text(error, "code")
        busy = code == "conversation_already_has_active_response"
        about = text(error, "event_id")
        if self._responses.refused(about, busy=busy) and busy:
            return []
        if about == RETRIEVAL:
            self._probe.refused()
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

    def tool_progressed(self, tool_call_id: str, words: str, now_ms: int) -> list[Effect]:
        """A running tool has something for the caller; it is said when nobody speaks."""
        if self._phase is Phase.OVER:
            return []
        effects = self._tools.progressed(tool_call_id, words, now_ms)
        self._fill_silence(now_ms)
        return [*effects, *self._responses.pump(now_ms)]

    def _fill_silence(self, now_ms: int) -> None:
        """Say what tools want said while they run, when it is time."""
        if self._tools.words.idle:  # nearly always, and asked at every event
            return
        talking = self._phase is Phase.TALKING and self._hold_until_ms is None
        self._tools.words.due(now_ms, silent=talking and not (self._responses.busy or self._turns.playing))

    def handoff_answered(self, tool_call_id: str, answer: HandoffAnswer, now_ms: int) -> list[Effect]:
        """The agent that an EnterAgent asked for is ready, or can't take over."""
        if self._phase is Phase.OVER:
            return []
        effects = self._tools.handoff_answered(tool_call_id, answer, now_ms, connected=self._sendable)
        if self._phase is not Phase.CONFIGURING:
            effects = [*self._cast.change(), *effects]  # first who speaks, then what about
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
        return self._phase is not Phase.CONFIGURING and self._hold_until_ms is None

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
                sendable = self._phase is Phase.TALKING and self._hold_until_ms is None
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
        given_up = self._hold_until_ms is not None and now_ms >= self._hold_until_ms
        effects = self._go_on(now_ms) if given_up else []
        if self._phase is Phase.TALKING and self._hold_until_ms is None:
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
