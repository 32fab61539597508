"""The sessions this worker holds: claimed, kept by lease, given back."""

from __future__ import annotations

import asyncio
from collections import Counter

from realtime_worker.commits import Commits, until_redis_answers
from realtime_worker.conversation.core import Conversation, ConversationSetup
from realtime_worker.conversation.effects import Record, SetState
from realtime_worker.services import Services, now_ms
from realtime_worker.session_runner import SessionRunner, SessionTask
from shared.agents.catalog import Agent
from shared.errors import FencedError, SidetoneError, UnavailableError
from shared.providers.session_config import realtime_session, session_update
from shared.session.jobs import AttachJob
from shared.session.log import ErrorRecorded
from shared.session.model import EndReason, Session, SessionState
from shared.telemetry.logs import bind_session, get_logger

# A session whose runner breaks this often by our own fault ends instead of breaking for ever.
BREAKS_ALLOWED = 3

_log = get_logger(__name__)


class Roster:
    """Owns the runners. `held` is what the lease keeper renews."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._runners: dict[str, SessionRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
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
        return {session_id: runner.epoch for session_id, runner in self._runners.items()}

    def wake(self, session_id: str) -> None:
        """Something may be in the session's inbox; "" means in any."""
        for runner in list(self._runners.values()) if not session_id else [self._runners.get(session_id)]:
            if runner is not None:
                runner.wake()

    def take(self, job: AttachJob) -> None:
        """Start working on an attach job."""
        if job.session_id in self._tasks:
            self._own(asyncio.create_task(self._job_done(job)), f"job {job.job_id}")
            return
        self._own(asyncio.create_task(self._hold(job), name=f"session {job.session_id}"), job.session_id)

    def take_over(self, session_id: str) -> None:
        """Start working on a session whose owner is gone. Of several workers that try, one gets the lease."""
        if session_id not in self._tasks:
            self.take(AttachJob(job_id="", session_id=session_id, traceparent="", enqueued_at_ms=now_ms()))

    def drop(self, session_id: str) -> None:
        """Stop working on a session whose lease is somebody else's."""
        task = self._tasks.get(session_id)
        if task is not None:
            task.cancel()

    async def hand_back(self) -> None:
        """Take no more, release every session and queue it for another worker."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _own(self, task: asyncio.Task[None], key: str) -> None:
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _hold(self, job: AttachJob) -> None:
        services = self._services
        worker = services.settings.worker_id
        with bind_session(job.session_id):
            try:
                epoch = await until_redis_answers(lambda: services.ownership.acquire(job.session_id, worker))
            except SidetoneError as error:  # erased or over: nothing to attach to
                _log.info("attach job is out of date", extra={"code": error.code})
                await self._job_done(job)
                return
            if epoch is None:
                _log.info("session is held by another worker")
                await self._job_done(job)
                return
            try:
                await self._run(job, epoch)
            except asyncio.CancelledError:
                await self._give_back(job, epoch)
                raise
            except FencedError:
                _log.warning("session was taken over before it began")
            else:
                await until_redis_answers(lambda: services.ownership.release(job.session_id, epoch))

    async def _run(self, job: AttachJob, epoch: int) -> None:
        """Run the session to its end; a fault of ours re-queues it, a few times."""
        services = self._services
        try:
            session = await until_redis_answers(lambda: services.sessions.get(job.session_id))
            runner = await self._prepare(session, epoch, job)
            self._runners[job.session_id] = runner
            try:
                await runner.run()
            finally:
                self._runners.pop(job.session_id, None)
            self._breaks.pop(job.session_id, None)
        except SidetoneError as error:
            if isinstance(error, FencedError):
                raise
            _log.error("session can not be run", extra={"code": error.code})  # expected failure
            await self._abandon(job, epoch, error.code, error.detail)
        except Exception as error:  # a fault of ours must cost neither the worker nor the call
            _log.exception("session runner broke", extra={"error": type(error).__name__})
            self._breaks[job.session_id] += 1
            if self._breaks[job.session_id] > BREAKS_ALLOWED:
                await self._abandon(job, epoch, "runner_broke", type(error).__name__)
            else:
                await self._give_back(job, epoch)

    async def _prepare(self, session: Session, epoch: int, job: AttachJob) -> SessionRunner:
        services = self._services
        agent = services.catalog.get(session.agent)
        unanswered = await until_redis_answers(
            lambda: services.ownership.unanswered_tools(session.session_id)
        )
        answered = await until_redis_answers(lambda: services.ownership.answered_tools(session.session_id))
        conversation = Conversation(
            ConversationSetup(
                session_id=session.session_id,
                agent=agent.name,
                worker=services.settings.worker_id,
                epoch=epoch,
                call_id=session.call_id,
                configuration=self._configuration(agent, session, epoch),
                greeting=agent.greeting,
                executions={name: tool.execution for name, tool in agent.tools.items()},
                repeatable=frozenset(name for name, tool in agent.tools.items() if tool.idempotent),
                unanswered=tuple(unanswered),
                answered=answered,
                resumed=session.connected_at_ms > 0,
                usage=session.usage,
            )
        )
        traceparent = session.traceparent or job.traceparent

        def attached() -> None:
            self._own(asyncio.create_task(self._job_done(job)), f"job {job.job_id}")

        return SessionRunner(
            services,
            SessionTask(
                session=session,
                agent=agent,
                epoch=epoch,
                conversation=conversation,
                traceparent=traceparent,
            ),
            on_attached=attached,
        )

    def _configuration(self, agent: Agent, session: Session, epoch: int) -> dict[str, object]:
        settings = self._services.settings
        configuration = realtime_session(
            agent,
            variables=session.variables,
            model=settings.realtime_model,
            transcription_model=settings.transcription_model,
            transport=session.transport,
        )
        return session_update(configuration, event_id=f"cfg_{epoch}")

    async def _job_done(self, job: AttachJob) -> None:
        if job.job_id:
            await until_redis_answers(lambda: self._services.attach_queue.done(job))

    async def _give_back(self, job: AttachJob, epoch: int) -> None:
        """Release the lease and let any worker attach: the call goes on."""
        services = self._services
        try:
            await services.ownership.release(job.session_id, epoch)
            if job.job_id:
                await services.attach_queue.done(job)
            await services.attach_queue.enqueue(job.session_id, job.traceparent)
        except UnavailableError:
            # The lease lapses by itself, and the sweep queues the session.
            _log.warning("session could not be handed back", extra={"code": "redis_unavailable"})

    async def _abandon(self, job: AttachJob, epoch: int, code: str, detail: str) -> None:
        """End a session that can't be run here or anywhere."""
        services = self._services
        at = now_ms()
        commits = Commits(services.ownership, job.session_id, epoch)
        entry = ErrorRecorded(source="worker", code=code, detail=detail, at_ms=at)
        await commits.commit(
            [
                Record(entry=entry),
                SetState(state=SessionState.ENDED, reason=EndReason.INTERNAL_ERROR, at_ms=at),
            ]
        )
        await self._job_done(job)
