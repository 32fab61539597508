"""The shell around one conversation: its socket, its inbox, its tools, its records.

One task reads provider events into the conversation core. What else there is to do has a task while there is:
commands are read from the inbox into the core, and what the core wants is done, records first.
Nothing else touches the core, and nothing slow happens in the read loop.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterable

from realtime_worker.commits import Commits, until_redis_answers
from realtime_worker.connection import Connection
from realtime_worker.control_messages import report_lifecycle
from realtime_worker.conversation.effects import (
    AskRecording,
    CancelTool,
    ChangeSession,
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
)
from realtime_worker.conversation.role import Accepted
from realtime_worker.conversation.setup import Phase
from realtime_worker.conversation.wire import Event
from realtime_worker.deadline import Deadline
from realtime_worker.effect_queue import EffectQueue
from realtime_worker.media.absence import gone_for_good
from realtime_worker.media.caller_line import COME_AGAIN, OVER, CallerLine
from realtime_worker.occasional_work import OccasionalWork
from realtime_worker.services import Services, now_ms
from realtime_worker.session_task import SessionTask
from realtime_worker.tool_tasks import ToolTasks
from realtime_worker.transcript_guard import TranscriptGuard
from realtime_worker.turn_telemetry import TurnTelemetry
from realtime_worker.wake import Wake
from shared.errors import FencedError, SidetoneError
from shared.ids import tool_instance_id
from shared.providers.protocol import ProviderSocket
from shared.session.jobs import AdjustRecording, StartDurableTool
from shared.session.log import Attached, CallEvent, CallEventKind
from shared.session.model import SessionState
from shared.telemetry.logs import get_logger
from shared.tools.approval_gate import ApprovalAsked
from shared.tools.execution import ToolOutcome

INBOX_BATCH = 50

_log = get_logger(__name__)


class SessionRunner:
    """Runs one session until it is over, fenced, or handed back."""

    __slots__ = (
        "_absence",
        "_connection",
        "_conversation",
        "_deadline",
        "_effects",
        "_epoch",
        "_fault",
        "_finished",
        "_guard",
        "_inbox",
        "_inbox_cursor",
        "_leaving",
        "_line",
        "_on_attached",
        "_over",
        "_reading",
        "_services",
        "_session",
        "_team",
        "_telemetry",
        "_tools",
        "_traceparent",
    )

    def __init__(self, services: Services, task: SessionTask, *, on_attached: Callable[[], None]) -> None:
        session, team = task.session, task.team
        self._services = services
        self._session = session
        self._epoch = task.epoch
        self._traceparent = task.traceparent
        self._conversation = task.conversation
        self._tools = ToolTasks(team, session, task.traceparent)
        self._on_attached = on_attached
        self._telemetry = TurnTelemetry(
            session, team.tool, task.traceparent, services.settings.realtime_model
        )
        self._team = team
        self._guard = TranscriptGuard(team.agent(team.standing().agent).guardrails)
        self._line = (
            CallerLine(self._heard, interruptible=self._interruptible)
            if session.transport in services.media_transports
            else None
        )
        context = contextvars.copy_context()  # logs name the session that it is bound to
        self._deadline = Deadline(self._conversation.next_deadline_ms, self._tick)
        self._effects = EffectQueue(
            Commits(services.ownership, session.session_id, task.epoch),
            recorded=self._announce,
            carry_out=self._carry_out,
            drained=self._look_whether_over,
            broke=self._broke,
            context=context,
        )
        self._connection = Connection(
            services,
            task,
            self._guard,
            self._line,
            self._effects,
            self._deadline,
            prepared=self._prepared,
            broke=self._broke,
        )
        self._inbox = OccasionalWork(self._read_inbox, self._broke, context)
        self._inbox_cursor = session.inbox_cursor
        self._reading: asyncio.Task[None] | None = None
        self._absence: asyncio.Task[None] | None = None
        self._over = Wake()
        self._leaving = False
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
        self._inbox.wake()

    def leave(self) -> None:
        """Listen no more; `run` returns when what is owed is written and sent, and no tool runs."""
        self._leaving = True
        self._stop_listening()
        self._effects.look()

    async def run(self) -> None:
        """Return when the session is over or belongs to somebody else; clean up when cancelled.

        Raises an ExceptionGroup with whatever breaks it.
        """
        try:
            if not self._leaving:
                self._listen()
            self._effects.look()
            await self._over.wait()
            if isinstance(self._fault, FencedError):
                _log.warning("session belongs to another worker now", extra={"epoch": self._epoch})
            elif self._fault is not None:
                raise ExceptionGroup("a session broke", [self._fault])
        finally:
            await self._let_go()

    def _listen(self) -> None:
        self._reading = self._task(self._connection.hold(), f"connection {self.session_id}")
        self.wake()
        if self._line is not None:
            self._absence = self._task(self._miss_caller(self._line), f"absence {self.session_id}")

    def _task(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._broke(error)

    def _stop_listening(self) -> None:
        self._connection.stop()
        self._inbox.cancel()
        for task in (self._reading, self._absence):
            if task is not None:
                task.cancel()

    async def _let_go(self) -> None:
        self._stop_listening()
        self._deadline.close()
        tasks = [task for task in (self._reading, self._absence) if task is not None]
        if tasks:
            await asyncio.wait(tasks)
        await self._inbox.close()
        await self._effects.close()
        await self._tools.close()
        if self._line is not None:
            await self._line.close(OVER if self._finished else COME_AGAIN)
        await self._connection.close()

    def _broke(self, error: Exception) -> None:
        """Something of this session failed: `run` ends with it."""
        self._fault = self._fault or error
        self._over.set()

    def _look_whether_over(self) -> None:
        if self._finished or (self._leaving and self._effects.empty and self._tools.idle):
            self._over.set()

    # --- into the core ---------------------------------------------------------------------------

    def _apply(self, effects: Iterable[Effect]) -> None:
        """Have done what the core wants; its next deadline may be another now."""
        self._effects.put(effects)
        self._deadline.may_have_moved()

    def _react(self, reaction: Callable[[], Iterable[Effect]]) -> None:
        """Apply what the core makes of something that no task of ours waits for; a fault breaks `run`."""
        try:
            self._apply(reaction())
        except Exception as error:  # would else reach nobody but the event loop
            self._broke(error)
        self._effects.look()

    def _tick(self) -> None:
        self._react(lambda: self._conversation.tick(now_ms()))

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

    async def _read_inbox(self) -> None:
        """Feed commands to the core in their order. The cursor moves with the records they cause."""
        try:
            received = await self._services.inbox.read(self.session_id, self._inbox_cursor, INBOX_BATCH)
        except SidetoneError as error:
            _log.warning("inbox could not be read", extra={"code": error.code})
            await asyncio.sleep(1.0)
            self.wake()
            return
        for entry in received:
            self._apply(self._conversation.command(entry, now_ms()))
            self._inbox_cursor = entry.entry_id
        if received:  # there may be more, and a page may be short for an entry that was left out
            self.wake()

    # --- out of the core ---------------------------------------------------------------------------

    async def _carry_out(self, effect: OutwardEffect, socket: ProviderSocket | None) -> None:
        """Do what the core wants; what it wanted sent goes to the connection of that time."""
        match effect:
            case Send() if self._leaving:
                # What the service told since we stopped listening is for the next owner to find, and it finds
                # the last item only: nothing may be put behind it. Outputs are recorded and sent from there.
                pass
            case Send():
                await self._effects.send(effect, socket)
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
                self._connection.spare.prepare()
            case ChangeSession():
                if socket is not None:
                    await socket.close()
            case HangUp():
                await self._hang_up()
            case Finish():
                self._finished = True
                self._effects.stop()

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
            if self._effects.socket is not None:
                self._effects.socket.tell_words(self._guard.listens)
        self._react(lambda: self._conversation.handoff_answered(asked.tool_call_id, answer, now_ms()))

    def _tool_progressed(self, effect: RunInline, words: str) -> None:
        self._react(lambda: self._conversation.tool_progressed(effect.tool_call_id, words, now_ms()))

    def _prepared(self, succeeded: bool) -> None:
        self._react(lambda: self._conversation.prepared(now_ms(), succeeded=succeeded))

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
