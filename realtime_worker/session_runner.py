"""The shell around one conversation: its socket, its inbox, its tools, its records.

Four tasks work for a session. The connection task reads provider events into the conversation core;
the inbox task reads commands into it; the effects task carries out what the core wants, records first;
another sends what waits for no record.
Nothing else touches the core, and nothing slow happens in the connection task's read loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from realtime_worker.attachment import Attachment
from realtime_worker.commits import Commits, until_redis_answers
from realtime_worker.control_messages import report_lifecycle
from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.effects import (
    AskRecording,
    CancelTool,
    ChangeSession,
    CountUsage,
    Effect,
    EnterAgent,
    Finish,
    HangUp,
    OutwardEffect,
    PrepareSession,
    Record,
    RecordEffect,
    RunInline,
    Send,
    SetState,
    StartDurable,
    tool_call_of,
)
from realtime_worker.conversation.role import Accepted
from realtime_worker.conversation.setup import Phase
from realtime_worker.conversation.wire import Event
from realtime_worker.departures import LOOKED_AT, was_handed_over
from realtime_worker.media.absence import gone_for_good
from realtime_worker.media.caller_line import COME_AGAIN, OVER, CallerLine
from realtime_worker.services import Services, now_ms
from realtime_worker.spare_session import SpareSession
from realtime_worker.team import Team
from realtime_worker.tool_tasks import ToolTasks
from realtime_worker.transcript_guard import TranscriptGuard
from realtime_worker.turn_telemetry import TurnTelemetry
from realtime_worker.wake import Wake
from shared.errors import FencedError, SidetoneError
from shared.ids import tool_instance_id
from shared.providers.protocol import ProviderSocket
from shared.session.jobs import AdjustRecording, StartDurableTool
from shared.session.log import (
    AgentTurn,
    Attached,
    AudioStarted,
    CallEvent,
    CallEventKind,
    Interrupted,
    ResponseUsage,
    UserTurn,
)
from shared.session.model import Session, SessionState, Transport
from shared.telemetry.logs import bind_session, get_logger
from shared.tools.approval_gate import ApprovalAsked
from shared.tools.execution import ToolOutcome

INBOX_BATCH = 50
# Records that nothing waits for are written with the next that something does, or after this long.
PATIENCE_S = 0.01
# How many effects may wait while Redis is away: some ten minutes of talk. Then the provider is not read
# until there is room again: it keeps its events, and what it could not deliver is found after re-attaching.
PENDING_LIMIT = 1_000

_PATIENT = (UserTurn, AgentTurn, AudioStarted, Interrupted, ResponseUsage)

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class SessionTask:
    """What a runner is given: the session and its agents, its fencing number, its conversation, not begun."""

    session: Session
    team: Team
    epoch: int
    conversation: Conversation
    traceparent: str


class SessionRunner:
    """Runs one session until it is over, fenced, or handed back."""

    def __init__(self, services: Services, task: SessionTask, *, on_attached: Callable[[], None]) -> None:
        self._services = services
        self._session = task.session
        self._epoch = task.epoch
        self._traceparent = task.traceparent
        self._conversation = task.conversation
        self._commits = Commits(services.ownership, task.session.session_id, task.epoch)
        self._tools = ToolTasks(task.team, task.session, task.traceparent)
        self._on_attached = on_attached
        self._telemetry = TurnTelemetry(
            task.session, task.team.tool, task.traceparent, services.settings.realtime_model
        )
        self._team = task.team
        self._guard = TranscriptGuard(task.team.agent(task.team.standing().agent).guardrails)
        self._attachment = Attachment(
            services.provider,
            task.session,
            services.settings.attach_timeout_s,
            model=task.team.first.model.model,
        )
        self._spare = SpareSession(self._attachment.connect, self._prepared)
        self._socket: ProviderSocket | None = None
        self._line = (
            CallerLine(self._heard, interruptible=self._interruptible)
            if task.session.transport in services.media_transports
            else None
        )
        self._inputs: list[asyncio.Task[None]] = []
        self._leaving = False
        self._pending: list[Effect] = []
        self._room = Wake(is_set=True)
        self._effects_wake = Wake()
        self._unrecorded_sends: list[Send] = []
        self._unrecorded_wake = Wake()
        self._inbox_wake = Wake(is_set=True)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0
        self._timer_check: asyncio.Handle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._hurry = False
        self._finished = False
        self._fault: Exception | None = None

    @property
    def session_id(self) -> str:
        return self._session.session_id

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def carries_media(self) -> bool:
        """Whether the caller's audio passes through this process."""
        return self._session.transport.carries_media

    @property
    def line(self) -> CallerLine | None:
        """The line to the caller, where a carrier's media socket brings it here."""
        return self._line

    @property
    def settled(self) -> bool:
        """Whether `leave` would cut nothing off: no inline tool runs, and no goodbye is being said."""
        return self._tools.idle and self._conversation.phase is not Phase.LEAVING

    @property
    def quiet(self) -> bool:
        """Whether nobody speaks or is about to."""
        return self._conversation.quiet

    @property
    def left(self) -> bool:
        """Whether `run` returned for `leave`, with the session still going on."""
        return self._leaving and not self._finished

    def wake(self) -> None:
        """There may be something new in the inbox."""
        self._inbox_wake.set()

    def leave(self) -> None:
        """Listen no more; `run` returns when what is owed is written and sent, and no tool runs."""
        self._leaving = True
        for task in self._inputs:
            task.cancel()
        self._effects_wake.set()

    async def run(self) -> None:
        """Return when the session is over or belongs to somebody else; clean up when cancelled."""
        with bind_session(self.session_id):
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._inputs = [
                        tasks.create_task(self._connection(), name=f"connection {self.session_id}"),
                        tasks.create_task(self._inbox(), name=f"inbox {self.session_id}"),
                    ]
                    if self._line is not None:
                        absence = self._miss_caller(self._line)
                        self._inputs.append(tasks.create_task(absence, name=f"absence {self.session_id}"))
                    sends = tasks.create_task(self._unrecorded(), name=f"sends {self.session_id}")
                    effects = self._effects([*self._inputs, sends])
                    tasks.create_task(effects, name=f"effects {self.session_id}")
            except* FencedError:
                _log.warning("session belongs to another worker now", extra={"epoch": self._epoch})
            finally:
                await self._let_go()

    async def _let_go(self) -> None:
        for handle in (self._timer, self._timer_check, self._patience):
            if handle is not None:
                handle.cancel()
        self._timer = self._timer_check = self._patience = None
        await self._tools.close()
        await self._spare.close()
        if self._line is not None:
            await self._line.close(OVER if self._finished else COME_AGAIN)
        if self._socket is not None:
            await self._socket.close()

    # --- into the core ---------------------------------------------------------------------------

    def _apply(self, effects: Iterable[Effect]) -> None:
        """Queue what the core wants, and set the clock for its next deadline."""
        for effect in effects:
            if isinstance(effect, Send) and not effect.after_commit:
                self._unrecorded_sends.append(effect)
                self._unrecorded_wake.set()
            else:
                self._pending.append(effect)
                self._effects_wake.set()
        if len(self._pending) >= PENDING_LIMIT:
            self._room.clear()
        self._deadline_may_have_moved()

    def _deadline_may_have_moved(self) -> None:
        """Look at the core's deadline soon: once for all events that came together."""
        if self._timer_check is None:
            self._timer_check = asyncio.get_running_loop().call_soon(self._set_timer)

    def _set_timer(self) -> None:
        """See to it that `_tick` runs at the core's next deadline; one that is set for earlier may stay."""
        self._timer_check = None
        deadline = self._conversation.next_deadline_ms()
        if deadline is None or (self._timer is not None and self._timer_at_ms <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(deadline - now_ms(), 1) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)
        self._timer_at_ms = deadline

    def _tick(self) -> None:
        self._timer = None
        self._react(lambda: self._conversation.tick(now_ms()))

    def _react(self, reaction: Callable[[], Iterable[Effect]]) -> None:
        """Apply what the core makes of something that no task of ours waits for; a fault breaks `run`."""
        try:
            self._apply(reaction())
        except Exception as error:  # would else reach nobody but the event loop
            self._fault = error
        self._effects_wake.set()

    async def _connection(self) -> None:
        """Hold the connection: attach, read until it closes, attach again until the call is gone."""
        while self._conversation.phase is not Phase.OVER:
            if self._line is not None:
                await self._line.wait(connected=True)  # without a caller nobody would hear the agent
            try:
                self._socket = await self._spare.take() or await self._attachment.open()
            except SidetoneError as error:
                await self._not_attached(error)
                return
            if self._line is not None:
                self._socket.play_to(self._line.play)
            self._socket.tell_words(self._guard.listens)
            self._apply(self._conversation.opened(now_ms()))
            # A service that never confirms the configuration is as good as unreachable.
            watchdog = asyncio.get_running_loop().call_later(
                self._services.settings.attach_timeout_s, self._give_up_configuring, self._socket
            )
            try:
                await self._read(self._socket, watchdog)
            finally:
                watchdog.cancel()
                if self._line is not None:
                    self._line.stop_listening()
            _log.info("connection closed", extra={"close_code": self._socket.close_code or 0})
            await self._socket.close()
            self._conversation.lost()
            self._drop_sends()

    def _drop_sends(self) -> None:
        """What was meant for a lost connection must not reach the next: the core sends again what matters."""
        self._unrecorded_sends.clear()
        self._pending = [effect for effect in self._pending if not isinstance(effect, Send)]

    async def _read(self, socket: ProviderSocket, watchdog: asyncio.TimerHandle) -> None:
        conversation = self._conversation
        configuring = True
        async for event in socket.events():
            at = now_ms()
            if self._line is not None:
                self._line.heed(event)
            effects = conversation.provider_event(event, at)
            if broken := self._guard.heard(event):
                rule, response_id = broken
                tripped = conversation.guardrail_tripped(rule.name, response_id, rule.instead, at)
                effects = [*effects, *tripped]
            if effects:
                self._apply(effects)
                await self._room.wait()
            else:
                self._deadline_may_have_moved()
            if configuring and conversation.phase is not Phase.CONFIGURING:
                configuring = False
                watchdog.cancel()
                self._attachment.confirmed()
                if self._line is not None:
                    await self._line.listen_with(socket)

    def _give_up_configuring(self, socket: ProviderSocket) -> None:
        if self._conversation.phase is Phase.CONFIGURING and socket is self._socket:
            _log.warning("provider did not confirm the configuration")
            self._apply(
                self._conversation.failed(
                    "configuration_unconfirmed",
                    "The realtime service did not confirm the agent's configuration.",
                    now_ms(),
                )
            )

    def _interruptible(self) -> bool:
        """Whether the caller may speak over what is being said."""
        return self._team.first.turn_detection.interrupt_response and self._conversation.interruptible

    def _heard(self, event: Event) -> None:
        """Take what the caller's line tells, in the words of the service."""
        self._react(lambda: self._conversation.provider_event(event, now_ms()))

    async def _miss_caller(self, line: CallerLine) -> None:
        """End the session when its caller is gone."""
        await gone_for_good(line, self._restart_media, wait_s=self._services.settings.media_wait_s)
        self._apply(self._conversation.gone(now_ms()))

    async def _restart_media(self) -> None:
        """Ask the carrier to open the media socket. Raises SidetoneError when it will not."""
        session = await self._services.sessions.get(self.session_id)  # the call's name may be new
        await self._services.carrier_leg(session).restart_media()
        asked = CallEvent(event=CallEventKind.MEDIA_RESTART_ASKED, at_ms=now_ms())
        self._apply([Record(entry=asked)])

    async def _not_attached(self, error: SidetoneError) -> None:
        by_sip = self._session.transport is Transport.SIP
        if error.code == "call_not_found" and (self._attachment.was_attached or by_sip):
            if not self._attachment.was_attached:
                # The caller hung up while it rang, mostly; or the service took a configuration that it can't
                # use, which looks the same.
                _log.warning("call was gone before it could be attached to", extra={"code": error.code})
            self._apply(self._conversation.gone(now_ms(), handed_over=by_sip and await self._handed_over()))
        else:
            _log.error("session could not attach", extra={"code": error.code})
            self._apply(self._conversation.failed(error.code, error.detail, now_ms()))

    async def _handed_over(self) -> bool:
        """Whether the call is gone because we had it transferred."""
        log = self._services.event_log
        newest = await until_redis_answers(lambda: log.tail(self.session_id, LOOKED_AT))
        return was_handed_over((line.entry for line in newest), now_ms())

    async def _inbox(self) -> None:
        """Feed commands to the core in their order. The cursor moves with the records they cause."""
        after = self._session.inbox_cursor
        while True:
            await self._inbox_wake.wait()
            self._inbox_wake.clear()
            try:
                received = await self._services.inbox.read(self.session_id, after, INBOX_BATCH)
            except SidetoneError as error:
                _log.warning("inbox could not be read", extra={"code": error.code})
                await asyncio.sleep(1.0)
                self._inbox_wake.set()
                continue
            for entry in received:
                self._apply(self._conversation.command(entry, now_ms()))
                after = entry.entry_id
            if received:  # there may be more, and a page may be short for an entry that was left out
                self._inbox_wake.set()

    # --- out of the core ---------------------------------------------------------------------------

    async def _unrecorded(self) -> None:
        """Send what waits for no record, also while Redis is away and a commit waits for it."""
        while True:
            await self._unrecorded_wake.wait()
            self._unrecorded_wake.clear()
            while self._unrecorded_sends:
                await self._send(self._unrecorded_sends.pop(0), self._socket)

    async def _effects(self, workers: Iterable[asyncio.Task[None]]) -> None:
        """Carry out effects in their order: all records of a drain first, in one write, then the rest.

        A drain without records is committed too: that is how an owner learns, before it acts, that the
        session is somebody else's.
        """
        while not (self._finished or self._may_leave()):
            await self._effects_wake.wait()
            self._effects_wake.clear()
            if self._fault is not None:
                raise self._fault
            if self._can_wait():
                continue
            drained, socket = self._pending, self._socket
            self._pending = []
            self._room.set()
            records = [e for e in drained if isinstance(e, RecordEffect)]
            known = await self._commits.commit(records)
            await self._announce(records)
            for effect in drained:
                if isinstance(effect, OutwardEffect) and tool_call_of(effect) not in known:
                    await self._carry_out(effect, socket)
        for worker in workers:
            worker.cancel()

    def _can_wait(self) -> bool:
        """Whether all that is pending may be written a moment later: with what comes next, in one write.

        So a tool's output does not wait for the bill of the response that called it.
        """
        if not self._pending:
            return True
        hurry, self._hurry = self._hurry or len(self._pending) >= PENDING_LIMIT, False
        if hurry or not all(_is_patient(effect) for effect in self._pending):
            return False
        if self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._end_patience)
        return True

    def _end_patience(self) -> None:
        self._patience = None
        self._hurry = True
        self._effects_wake.set()

    def _may_leave(self) -> bool:
        return self._leaving and not self._pending and self._tools.idle

    async def _carry_out(self, effect: OutwardEffect, socket: ProviderSocket | None) -> None:
        """Do what the core wants; what it wanted sent goes to the connection of that time."""
        match effect:
            case Send() if self._leaving:
                # What the service told since we stopped listening is for the next owner to find, and it finds
                # the last item only: nothing may be put behind it. Outputs are recorded and sent from there.
                pass
            case Send():
                await self._send(effect, socket)
            case RunInline():
                self._tools.start(effect, self._tool_finished, self._tool_progressed)
            case CancelTool(tool_call_id=tool_call_id):
                self._tools.cancel(tool_call_id)
            case StartDurable():
                message = StartDurableTool(
                    session_id=self.session_id,
                    tool_call_id=effect.tool_call_id,
                    tool=effect.name,
                    arguments=effect.arguments,
                    agent=effect.agent,
                    traceparent=self._traceparent,
                )
                dedupe = tool_instance_id(self.session_id, effect.tool_call_id)
                await until_redis_answers(lambda: self._services.outbox.put(message, dedupe=dedupe))
            case EnterAgent():
                self._enter(effect)
            case AskRecording(number=number):
                message = AdjustRecording(session_id=self.session_id, traceparent=self._traceparent)
                dedupe = f"{self.session_id}.recording.{number}"
                await until_redis_answers(lambda: self._services.outbox.put(message, dedupe=dedupe))
            case PrepareSession():
                self._spare.prepare()
            case ChangeSession():
                if socket is not None:
                    await socket.close()
            case HangUp():
                await self._hang_up()
            case Finish():
                self._finished = True

    def _tool_finished(self, effect: RunInline, outcome: ToolOutcome | ApprovalAsked) -> None:
        if isinstance(outcome, ApprovalAsked):
            self._react(lambda: self._conversation.tool_asks(effect.tool_call_id, now_ms()))
            return
        self._react(
            lambda: self._conversation.tool_finished(
                effect.tool_call_id,
                outcome.status,
                outcome.output,
                outcome.duration_ms,
                now_ms(),
                outcome.facts,
            )
        )

    def _enter(self, asked: EnterAgent) -> None:
        answer = self._team.answer(asked)
        if isinstance(answer, Accepted):
            self._guard.follow(self._team.agent(answer.role.agent).guardrails)
            if self._socket is not None:
                self._socket.tell_words(self._guard.listens)
        self._react(lambda: self._conversation.handoff_answered(asked.tool_call_id, answer, now_ms()))

    def _tool_progressed(self, effect: RunInline, words: str) -> None:
        self._react(lambda: self._conversation.tool_progressed(effect.tool_call_id, words, now_ms()))

    def _prepared(self, succeeded: bool) -> None:
        self._react(lambda: self._conversation.prepared(now_ms(), succeeded=succeeded))

    async def _send(self, effect: Send, socket: ProviderSocket | None) -> None:
        if socket is None:
            return
        try:
            await socket.send(effect.event)
        except SidetoneError as error:
            # The connection task sees the same close; what matters is sent again after the next attach.
            _log.info("event not sent", extra={"code": error.code})

    async def _hang_up(self) -> None:
        if self.carries_media:  # the provider's session ends with our connection
            return
        try:
            await self._services.provider.hang_up(self._session.call_id)
        except SidetoneError as error:
            # The lifecycle orchestration hangs up too, with retries, when it archives the session.
            _log.warning("hang up failed", extra={"code": error.code})

    async def _announce(self, records: list[RecordEffect]) -> None:
        """Tell the control plane and telemetry what the log now holds."""
        entries = [record.entry for record in records if isinstance(record, Record)]
        self._telemetry.recorded(entries)
        if any(isinstance(entry, Attached) for entry in entries):
            self._on_attached()
        for record in records:
            if isinstance(record, SetState):
                event = "attached"
                if record.state is SessionState.ENDED:
                    event = "ended"
                    self._telemetry.ended(record.reason)
                await report_lifecycle(
                    self._services.outbox, event, self.session_id, record.reason, self._traceparent
                )


def _is_patient(effect: Effect) -> bool:
    """Return whether nothing waits for the effect, and nobody misses it for a moment."""
    if isinstance(effect, Record):
        return isinstance(effect.entry, _PATIENT)
    return isinstance(effect, CountUsage)
