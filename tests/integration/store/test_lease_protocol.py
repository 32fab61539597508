"""Random interleavings of workers and the control plane, one Redis command at a time.

Whatever the order, and whatever happens to the leases: only the holder of the record's epoch
writes, epochs only rise, who was fenced stays fenced, and a tool call is answered once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import HealthCheck, note, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from emulators.redis_server import RunningRedis
from shared.errors import ConflictError, FencedError, UnavailableError
from shared.session.log import ErrorRecorded, LogEntry, StateChanged, ToolCalled, ToolFinished
from shared.session.model import Session, SessionState
from shared.store.event_log import EventLog
from shared.store.keys import LEASES_EXPIRY, LEASES_HOLDERS
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore
from tests.integration.store.examples import a_session, an_error, tool_called, tool_finished
from tests.integration.store.gated_redis import GatedRedis, Operation

WORKERS = ("w1", "w2", "w3")
CALLS = ("c1", "c2")
STEPS = st.sampled_from((9, 0, 1, 2, 3))  # Redis commands that an operation may send at once; 9 is all
KINDS = ("acquire", "commit", "advance", "lapse", "renew", "release", "lose", "end")
OFTEN = ("acquire", "commit", "commit", "advance", "advance", "lapse")


@dataclass(frozen=True, kw_only=True)
class Act:
    """One thing that happens; `pick` chooses who does it, or to whom, among those that can."""

    kind: str
    pick: int
    steps: int
    calls: list[str]
    finish: bool


ACTS = st.builds(
    Act,
    kind=st.sampled_from(KINDS + OFTEN),
    pick=st.integers(min_value=0, max_value=5),
    steps=STEPS,
    calls=st.lists(st.sampled_from(CALLS), max_size=3),
    finish=st.booleans(),
)


@dataclass
class Running:
    """An operation under way: who does what, under which epoch, with which tool calls."""

    worker: str
    kind: str
    operation: Operation[object]
    epoch: int = 0
    written: tuple[LogEntry, ...] = ()


@dataclass
class Known:
    """What the test knows to be true, whatever the workers believe."""

    acquired: dict[int, str] = field(default_factory=dict[int, str])
    top_epoch: int = 0
    ended: bool = False
    dirty: bool = False


class LeaseProtocol(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.known = Known()
        self.believed: dict[str, int] = {}
        self.running: list[Running] = []

    @initialize()
    def begin(self) -> None:
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        self.redis: Redis = GatedRedis.from_url(self.url, decode_responses=True)
        await self.redis.flushdb()
        self.store = SessionStore(self.redis, retention_s=3600)
        self.ownership = Ownership(self.redis, lease_ttl_s=3600)  # a lease lapses when a rule says so
        session = a_session()
        await self.store.create(session)
        self.session_id = session.session_id

    @rule(acts=st.lists(ACTS, min_size=12, max_size=30))
    def a_while_passes(self, acts: list[Act]) -> None:
        for act in acts:
            self._do(act)
            if self.known.dirty:
                self.runner.run(self._check_log())
                self.known.dirty = False

    @precondition(lambda self: not self.running and not self.known.ended and self.believed)
    @rule()
    def an_undisturbed_owner_keeps_its_session(self) -> None:
        self.runner.run(self._owner_renews())

    def _do(self, act: Act) -> None:
        worker = WORKERS[act.pick % len(WORKERS)]
        match act.kind:
            case "acquire":
                self._start(worker, "acquire", 0, act.steps)
            case "renew" | "release" if self.believed:
                worker, epoch = sorted(self.believed.items())[act.pick % len(self.believed)]
                self._start(worker, act.kind, epoch, act.steps)
            case "commit" if self.known.acquired:
                # Under any epoch that ever was given out, so that the fenced keep trying.
                epoch, worker = sorted(self.known.acquired.items())[-1 - act.pick % len(self.known.acquired)]
                tools = [tool_finished(call) if act.finish else tool_called(call) for call in act.calls]
                self._start(worker, "commit", epoch, 9, an_error(worker), *tools)
            case "advance" if self.running:
                running = self.running[act.pick % len(self.running)]
                self.runner.run(self._advance(running, max(1, act.steps)))
            case "lapse":
                self.runner.run(self.redis.zadd(LEASES_EXPIRY, {self.session_id: 1}, xx=True))
            case "end" if len(self.known.acquired) > 2 and not self.known.ended:
                self._start("control", "end", 0, act.steps)
            case "lose":
                self.runner.run(self.redis.delete(LEASES_EXPIRY, LEASES_HOLDERS))
            case _:
                pass

    def teardown(self) -> None:
        if hasattr(self, "session_id"):
            self.runner.run(self._finish())
        self.runner.close()

    def _start(self, worker: str, kind: str, epoch: int, steps: int, *entries: LogEntry) -> None:
        if len(self.running) < 6:
            self.runner.run(self._begin_operation(worker, kind, epoch, steps, entries))

    async def _begin_operation(
        self, worker: str, kind: str, epoch: int, steps: int, entries: tuple[LogEntry, ...]
    ) -> None:
        match kind:
            case "acquire":
                call = self.ownership.acquire(self.session_id, worker)
            case "renew":
                call = self.ownership.renew(worker, {self.session_id: epoch})
            case "release":
                call = self.ownership.release(self.session_id, epoch)
            case "commit":
                call = self.ownership.commit(self.session_id, epoch, entries=entries)
            case _:
                call = self.store.mark_ended(self.session_id, "idle", 5)
        running = Running(worker, kind, Operation[object](call), epoch, entries)
        await running.operation.settle()
        self.running.append(running)
        await self._advance(running, steps)

    async def _advance(self, running: Running, steps: int) -> None:
        for _ in range(steps):
            if running not in self.running:
                break
            before = await self._record()
            await running.operation.step()
            after = await self._record()
            if running.operation.done:
                self.running.remove(running)
            assert after.epoch >= before.epoch >= self.known.top_epoch
            self.known.top_epoch = after.epoch
            if after.epoch > before.epoch and running.kind == "acquire":
                assert after.owner == running.worker
            if after.state is SessionState.ENDED:
                assert after.owner == ""
                assert after.epoch > before.epoch or self.known.ended
                self.known.ended = True
            if running.kind == "release" and before.epoch != running.epoch:
                assert after == before, "a release that came too late changed something"
            if running.operation.done:
                self.known.dirty |= running.kind in ("commit", "end")
                self._judge(running, before, after)

    def _judge(self, running: Running, before: Session, after: Session) -> None:
        error = running.operation.task.exception()
        note(f"{running.worker} {running.kind} {running.epoch}: {error or running.operation.task.result()}")
        if isinstance(error, UnavailableError):
            return  # paused for longer than a call may take; nothing is known, and nothing may break
        match running.kind:
            case "acquire":
                if isinstance(error, ConflictError):
                    assert self.known.ended
                    return
                assert error is None, error
                epoch = running.operation.task.result()
                if isinstance(epoch, int):
                    assert epoch > max(self.known.acquired, default=0)
                    assert (after.epoch, after.owner) == (epoch, running.worker)
                    self.known.acquired[epoch] = running.worker
                    self.believed[running.worker] = epoch
            case "commit":
                entitled = before.epoch == running.epoch and before.owner == running.worker
                if entitled:
                    assert error is None, error
                    ids = running.operation.task.result()
                    assert isinstance(ids, list)
                    assert len(ids) == len(running.written)
                    assert ids[0]
                else:
                    assert isinstance(error, FencedError), (error, before)
                    assert after == before
                    self._stop_believing(running)
            case "renew":
                assert error is None, error
                lost = running.operation.task.result()
                assert lost in (set(), {self.session_id})
                if lost:
                    self._stop_believing(running)
            case "release":
                assert error is None, error
                self._stop_believing(running)
            case _:
                assert error is None, error
                assert self.known.ended

    def _stop_believing(self, running: Running) -> None:
        if self.believed.get(running.worker) == running.epoch:
            del self.believed[running.worker]

    async def _owner_renews(self) -> None:
        record = await self._record()
        for worker, epoch in list(self.believed.items()):
            lost = await self.ownership.renew(worker, {self.session_id: epoch})
            owns = (record.owner, record.epoch) == (worker, epoch)
            overtaken = await self.redis.hget(LEASES_HOLDERS, self.session_id) != f"{epoch} {worker}"
            if owns:
                assert not lost or overtaken, (worker, epoch, record)
            if owns and not lost:
                assert await self.ownership.lapsed(5) == []
                await self.ownership.commit(self.session_id, epoch, entries=[an_error(worker)])
            if lost:
                del self.believed[worker]

    async def _check_log(self) -> None:
        logged = await EventLog(self.redis).read_all(self.session_id)
        epochs = [entry.epoch for entry in logged if entry.epoch]
        assert epochs == sorted(epochs)
        called: list[str] = []
        finished: list[str] = []
        over = False
        for entry in logged:
            assert not (over and entry.epoch), "an owner wrote after the control plane had ended the session"
            match entry.entry:
                case ErrorRecorded() as mark:
                    assert self.known.acquired[entry.epoch] == mark.code
                case ToolCalled() as tool:
                    called.append(tool.tool_call_id)
                case ToolFinished() as tool:
                    finished.append(tool.tool_call_id)
                case StateChanged(state="ended"):
                    over = True
                case _:
                    pass
        assert len(called) == len(set(called)), called
        assert len(finished) == len(set(finished)), finished
        waiting = [tool.tool_call_id for tool in await self.ownership.unanswered_tools(self.session_id)]
        assert waiting == [call for call in called if call not in finished]

    async def _record(self) -> Session:
        return await self.store.get(self.session_id)

    async def _finish(self) -> None:
        """Let everything come to its end; then a new owner is found, and none of the former can write."""
        while self.running:
            await self._advance(self.running[0], 10)
        await self.redis.zadd(LEASES_EXPIRY, {self.session_id: 1}, xx=True)
        try:
            newest = await self.ownership.acquire(self.session_id, "last")
        except ConflictError:
            assert self.known.ended
            assert await self.redis.zscore(LEASES_EXPIRY, self.session_id) is None
        else:
            assert not self.known.ended
            assert newest is not None
            assert newest > max(self.known.acquired, default=0)
            await self.ownership.commit(self.session_id, newest, entries=[])
        for epoch in self.known.acquired:
            try:
                await self.ownership.commit(self.session_id, epoch, entries=[an_error("late")])
            except FencedError:
                continue
            raise AssertionError(f"epoch {epoch} could still write")
        await self._check_log()
        await self.redis.aclose()


def run_lease_protocol(url: str, examples: int, steps: int) -> None:
    machine = type("LeaseProtocol", (LeaseProtocol,), {"url": url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_lease_protocol_holds_under_any_interleaving(redis_server: RunningRedis) -> None:
    run_lease_protocol(redis_server.url, examples=40, steps=5)
