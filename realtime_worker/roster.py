"""The sessions this worker holds: claimed, kept by lease, given back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator

from realtime_worker.commits import Commits, until_redis_answers
from realtime_worker.control_messages import report_lifecycle
from realtime_worker.conversation.effects import Record, SetState
from realtime_worker.conversation.limits import Limits
from realtime_worker.conversation.role import Role
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.services import Services, now_ms
from realtime_worker.session_runner import SessionRunner
from realtime_worker.session_task import SessionTask
from realtime_worker.team import Team
from shared.agents.catalog import Agent
from shared.errors import FencedError, SidetoneError, UnavailableError
from shared.session.jobs import AttachJob
from shared.session.log import ErrorRecorded, LoggedEntry, ToolCalled
from shared.session.model import EndReason, Session, SessionState, Standing
from shared.telemetry.logs import bind_session, get_logger

# How much of its log a sideband session needs: what its call may show once more was logged just before.
RECENT_ENTRIES = 50
# A session whose runner breaks this often by our own fault ends instead of breaking for ever.
BREAKS_ALLOWED = 3
# How long a stopping worker finishes what it owes, sessions and then the attach queue; others do the rest.
ERRANDS_S = 2.0

_log = get_logger(__name__)


class Roster:
    """Owns the runners. `held` is what the lease keeper renews."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._epochs: dict[str, int] = {}  # from the lease on: preparing a runner may take longer than that
        self._runners: dict[str, SessionRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._given_way: set[str] = set()  # another worker waits for them
        self._letting_go: set[str] = set()  # still have a task, but nobody talks for them any more
        self._errands: set[asyncio.Task[None]] = set()
        self._breaks: Counter[str] = Counter()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def room(self) -> int:
        """How many more sessions this worker takes now."""
        return 0 if self._stopping else max(self._services.settings.max_sessions - len(self._tasks), 0)

    @property
    def held(self) -> dict[str, int]:
        """Session ids with the epochs they are held under."""
        return dict(self._epochs)

    def runner(self, session_id: str) -> SessionRunner | None:
        """Return the session's conversation, if it goes on here."""
        runner = self._runners.get(session_id)
        return runner if runner is not None and not runner.left else None

    def working_on(self, session_id: str) -> bool:
        """Whether this worker holds the session, or is about to, or has not quite let go of it."""
        return session_id in self._tasks

    def give_way(self, session_id: str) -> None:
        """Another worker has the session's caller: finish what is owed, and leave the session to it."""
        if self.runner(session_id) is not None:
            self._given_way.add(session_id)
            self.move(session_id)

    def wake(self, session_id: str) -> None:
        """Something may be in the session's inbox; "" means in any."""
        for runner in list(self._runners.values()) if not session_id else [self._runners.get(session_id)]:
            if runner is not None:
                runner.wake()

    def take(self, job: AttachJob) -> None:
        """Start working on an attach job."""
        session_id = job.session_id
        holder = self._tasks.get(session_id)
        if self._stopping:
            self._run_errand(self._requeue(job))
        elif holder is None:
            task = asyncio.create_task(self._hold(job), name=f"session {session_id}")
            self._tasks[session_id] = task
            task.add_done_callback(lambda _: self._forget(session_id))
        elif session_id in self._letting_go:
            self._run_errand(self._take_after(holder, job))
        else:
            self._run_errand(self._done(job))

    def take_over(self, session_id: str) -> None:
        """Start working on a session whose owner is gone. Of several workers that try, one gets the lease."""
        if session_id not in self._tasks and not self._stopping:
            self.take(AttachJob(job_id="", session_id=session_id, traceparent="", enqueued_at_ms=now_ms()))

    def drop(self, session_id: str, epoch: int) -> None:
        """Stop working on a session whose lease of this epoch is lost."""
        if self._epochs.get(session_id) == epoch:
            self._letting_go.add(session_id)
            self._tasks[session_id].cancel()

    def close(self) -> None:
        """Take no more sessions."""
        self._stopping = True

    @property
    def runners(self) -> list[SessionRunner]:
        """The conversations that go on here."""
        return [runner for runner in self._runners.values() if not runner.left]

    def move(self, session_id: str) -> None:
        """Finish what this worker owes the session, then release it and queue it for another worker."""
        self._letting_go.add(session_id)
        self._runners[session_id].leave()

    async def hand_back(self) -> None:
        """Take no more, release every session at once and queue it for another worker."""
        self.close()
        for session_id in list(self._runners):
            self.move(session_id)
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=ERRANDS_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._errands:
            await asyncio.wait(self._errands, timeout=ERRANDS_S)
        for errand in list(self._errands):
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)

    def _forget(self, session_id: str) -> None:
        self._tasks.pop(session_id, None)
        self._letting_go.discard(session_id)
        self._given_way.discard(session_id)

    def _run_errand(self, errand: Coroutine[object, object, None]) -> None:
        """Do something for a job beside the sessions; what fails is done by whoever reclaims the job."""
        task = asyncio.create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _take_after(self, holder: asyncio.Task[None], job: AttachJob) -> None:
        await asyncio.wait([holder])
        self.take(job)

    async def _hold(self, job: AttachJob) -> None:
        with bind_session(job.session_id):
            try:
                await self._acquire_and_run(job)
            except Exception as error:  # the lease lapses, the job is reclaimed: another try follows
                _log.exception("session could not be held", extra={"error": type(error).__name__})

    async def _acquire_and_run(self, job: AttachJob) -> None:
        try:
            epoch = await self._acquire(job)
        except asyncio.CancelledError:
            await self._requeue_once(job)
            raise
        if epoch is None:
            await self._done(job)
            return
        self._epochs[job.session_id] = epoch
        try:
            settled = await self._run(job, epoch)
        except asyncio.CancelledError:
            self._epochs.pop(job.session_id, None)
            await self._give_back(job, epoch)
            raise
        finally:
            self._epochs.pop(job.session_id, None)
            self._letting_go.add(job.session_id)
        if settled:
            await self._done(job)
            await until_redis_answers(lambda: self._services.ownership.release(job.session_id, epoch))
        else:
            await self._give_back(job, epoch)

    async def _acquire(self, job: AttachJob) -> int | None:
        """Return the epoch under which the session is ours now, or None if nobody needs to attach."""
        ownership, worker = self._services.ownership, self._services.settings.worker_id
        try:
            epoch = await until_redis_answers(lambda: ownership.acquire(job.session_id, worker))
        except SidetoneError as error:  # erased or over: nothing to attach to
            _log.info("attach job is out of date", extra={"code": error.code})
            await self._tell_ended(job)
            return None
        if epoch is None:
            _log.info("session is held by another worker")
        return epoch

    async def _run(self, job: AttachJob, epoch: int) -> bool:
        """Run the session until it is over or somebody else's. False: it goes on, here or elsewhere."""
        services = self._services
        try:
            session = await until_redis_answers(lambda: services.sessions.get(job.session_id))
            runner = await self._prepare(session, epoch, job)
            self._runners[job.session_id] = runner
            try:
                await runner.run()
            finally:
                self._letting_go.add(job.session_id)
                self._epochs.pop(job.session_id, None)
                self._runners.pop(job.session_id, None)
                if services.recorder is not None:
                    services.recorder.release(job.session_id, epoch)
            self._breaks.pop(job.session_id, None)
            if runner.left:
                return False
        except FencedError:
            _log.warning("session was taken over before it began")
        except SidetoneError as error:
            _log.error("session can not be run", extra={"code": error.code})  # expected failure
            await self._abandon(job, epoch, error.code, error.detail)
        except Exception as error:  # a fault of ours must cost neither the worker nor the call
            _log.exception("session runner broke", extra={"error": type(error).__name__})
            self._breaks[job.session_id] += 1
            if self._breaks[job.session_id] <= BREAKS_ALLOWED:
                return False
            await self._abandon(job, epoch, "runner_broke", type(error).__name__)
        return True

    async def _prepare(self, session: Session, epoch: int, job: AttachJob) -> SessionRunner:
        services = self._services
        team = Team(await services.agents(session), session, services.settings, epoch)
        standing = team.standing()
        role, first = team.role(standing), team.first
        if standing.agent_version != role.version:
            changed = {"agent": role.agent, "recorded": standing.agent_version, "version": role.version}
            _log.warning("agent has changed since the call began", extra=changed)
        unanswered = await until_redis_answers(
            lambda: services.ownership.unanswered_tools(session.session_id)
        )
        answered = await until_redis_answers(lambda: services.ownership.answered_tools(session.session_id))
        own_session = session.transport.carries_media
        resumed = session.connected_at_ms > 0
        logged = await until_redis_answers(lambda: self._logged(session, team)) if resumed else []
        conversation = services.conversation(
            ConversationSetup(
                session_id=session.session_id,
                role=role,
                earlier=tuple(_earlier(team, standing, unanswered)),
                standing=standing,
                max_handoffs=first.limits.max_handoffs,
                worker=services.settings.worker_id,
                epoch=epoch,
                call_id=session.call_id,
                greeting=first.greeting,
                limits=_limits(first, session),
                unanswered=tuple(unanswered),
                answered=answered,
                resumed=resumed,
                own_session=own_session,
                history=tuple(line.entry for line in logged),
                usage=session.usage,
                prices=services.prices,
            ),
            session.transport,
        )
        traceparent = session.traceparent or job.traceparent

        waits_since_ms: int | None = job.enqueued_at_ms

        def attached() -> None:
            nonlocal waits_since_ms
            if waits_since_ms is not None:
                waited = {"epoch": epoch, "waited_ms": now_ms() - waits_since_ms}
                _log.info("session attached", extra=waited)
                waits_since_ms = None
            self._run_errand(self._done(job))

        return SessionRunner(
            services,
            SessionTask(
                session=session,
                team=team,
                epoch=epoch,
                conversation=conversation,
                traceparent=traceparent,
            ),
            on_attached=attached,
        )

    async def _logged(self, session: Session, team: Team) -> list[LoggedEntry]:
        """Return what earlier owners have logged, as much as the conversation needs."""
        log = self._services.event_log
        if session.transport.carries_media or team.asks_or_records:
            return await log.read_all(session.session_id)
        return await log.tail(session.session_id, RECENT_ENTRIES)

    async def _done(self, job: AttachJob) -> None:
        if job.job_id:  # a session that was taken over has none
            await until_redis_answers(lambda: self._services.attach_queue.done(job))

    async def _requeue(self, job: AttachJob) -> None:
        await until_redis_answers(lambda: self._requeue_once(job))

    async def _requeue_once(self, job: AttachJob) -> None:
        if job.job_id:
            await self._services.attach_queue.done(job)
        await self._services.attach_queue.enqueue(job.session_id, job.traceparent)

    async def _give_back(self, job: AttachJob, epoch: int) -> None:
        """Let any worker attach: the call goes on."""
        try:
            await self._services.ownership.hand_over(job.session_id, epoch)
            if job.session_id in self._given_way:  # queued, it could come to a third worker
                await self._done(job)
            else:
                await self._requeue_once(job)
        except UnavailableError:
            # The lease has lapsed or will lapse by itself, and the sweep queues the session.
            _log.warning("session could not be handed back", extra={"code": "redis_unavailable"})

    async def _abandon(self, job: AttachJob, epoch: int, code: str, detail: str) -> None:
        """End a session that can't be run here or anywhere."""
        self._breaks.pop(job.session_id, None)
        at = now_ms()
        commits = Commits(self._services.ownership, job.session_id, epoch)
        entry = ErrorRecorded(source="worker", code=code, detail=detail, at_ms=at)
        ended = SetState(state=SessionState.ENDED, reason=EndReason.INTERNAL_ERROR, at_ms=at)
        try:
            await commits.commit([Record(entry=entry), ended])
        except FencedError:
            _log.warning("session was taken over before it could be ended")
        else:
            await self._tell_ended(job)

    async def _tell_ended(self, job: AttachJob) -> None:
        """Have the control plane hang up and close the books of a session that has ended.

        Whoever ended it may have died before he could say so; saying it twice changes nothing.
        """
        services = self._services
        try:
            session = await until_redis_answers(lambda: services.sessions.get(job.session_id))
        except SidetoneError as error:
            _log.info("session is gone", extra={"code": error.code})
            return
        if session.state is SessionState.ENDED:
            traceparent = session.traceparent or job.traceparent
            await report_lifecycle(
                services.outbox, "ended", session.session_id, session.end_reason, traceparent
            )


def _earlier(team: Team, standing: Standing, unanswered: Iterable[ToolCalled]) -> Iterator[Role]:
    """Yield the agents before the one that speaks whose calls are still to be answered."""
    for name in dict.fromkeys(call.agent for call in unanswered):
        if name and name != standing.agent:
            with contextlib.suppress(SidetoneError):  # gone: its tools are unknown now, and answered so
                yield team.role(dataclasses.replace(standing, agent=name))


def _limits(agent: Agent, session: Session) -> Limits:
    """Return what ends this call from here. The orchestration watches over the duration too."""
    return Limits(
        idle_ms=agent.limits.idle_s * 1000,
        ends_at_ms=(session.created_at_ms + session.max_duration_s * 1000) if session.max_duration_s else 0,
        max_tokens=agent.limits.max_tokens or 0,
        max_cost_micros=round((agent.limits.max_cost or 0) * 1e6),
        max_responses=agent.limits.max_turns or 0,
    )
