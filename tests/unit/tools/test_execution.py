"""Whatever a tool does, the model gets one outcome, and the process goes on."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, Field

from shared.session.log import ToolStatus
from shared.tools import Tool, ToolContext, ToolRefusedError, tool
from shared.tools.deadlines import MAX_THREADS
from shared.tools.execution import ToolOutcome, run_tool, unknown_tool_outcome
from tests.support.eventually import eventually

SECRET = "the caller's own words"


def error_of(outcome: ToolOutcome) -> dict[str, str]:
    found = json.loads(outcome.output)
    assert set(found) == {"error"}
    assert found["error"]["code"] == outcome.code
    return found["error"]


@dataclass(frozen=True)
class Money:
    amount: Decimal
    on: date


class Booking(BaseModel):
    number: int
    note: str = ""


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("it must be even")
    return value


def _broken(value: str) -> str:
    raise KeyError(value)


@tool(idempotent=True)
async def add(a: Annotated[int, AfterValidator(_even)], b: int = 1, label: str = "") -> dict[str, object]:
    """Add."""
    return {"sum": a + b, "label": label}


async def test_arguments_are_read_leniently(context: ToolContext) -> None:
    outcome = await run_tool(add, '{"a": "10", "label": 1042}', context)
    assert outcome.status is ToolStatus.OK
    assert json.loads(outcome.output) == {"sum": 11, "label": "1042"}
    assert outcome.duration_ms > 0
    assert (outcome.code, outcome.retryable) == ("", False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{}", "a: is required"),
        ("", "a: is required"),
        ('{"a": 2, "c": 1}', "c: is not a parameter of this tool; leave it out"),
        ('{"a": "x"}', "a: Input should be a valid integer"),
        ('{"a": 3}', "a: it must be even"),
        ("[1]", "the arguments must be one JSON object"),
        ('{"a": 2', "the arguments are not valid JSON"),
        ("null", "the arguments must be one JSON object"),
    ],
)
async def test_wrong_arguments_are_told_to_the_model(context: ToolContext, arguments: str, told: str) -> None:
    outcome = await run_tool(add, arguments, context)
    assert outcome.status is ToolStatus.INVALID
    error = error_of(outcome)
    assert error["code"] == "invalid_arguments"
    assert told in error["message"]
    assert "call it again" in error["message"]
    assert not outcome.retryable


async def test_one_model_parameter_and_the_context_are_handed_over(context: ToolContext) -> None:
    @tool()
    def book(context: ToolContext, booking: Booking) -> dict[str, object]:
        """Book."""
        assert isinstance(booking, Booking)
        return {"number": booking.number, "key": context.idempotency_key, **context.variables}

    outcome = await run_tool(book, '{"number": 7}', context)
    assert json.loads(outcome.output) == {"number": 7, "key": "ses_test.call_1", "caller_name": "Ann"}
    unknown = await run_tool(book, '{"number": 7, "context": {}}', context)
    assert "context: is not a parameter" in error_of(unknown)["message"]


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (None, "null"),
        ("text \N{SNOWMAN}", '"text \N{SNOWMAN}"'),
        (Booking(number=1), '{"number":1,"note":""}'),
        ([Money(Decimal("1.50"), date(2026, 1, 2))], '[{"amount":"1.50","on":"2026-01-02"}]'),
        ({"ratio": float("nan")}, '{"ratio":null}'),
    ],
)
async def test_results_become_json(context: ToolContext, result: object, output: str) -> None:
    @tool()
    def give() -> object:
        """Give."""
        return result

    assert (await run_tool(give, "{}", context)).output == output


def _cycle() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("make", [object, _cycle, lambda: "\ud800", lambda: {"lock": threading.Lock()}])
async def test_what_is_not_json_is_an_error(context: ToolContext, make: Callable[[], object]) -> None:
    @tool()
    def give() -> object:
        """Give."""
        return make()

    outcome = await run_tool(give, "{}", context)
    assert (outcome.status, outcome.code) == (ToolStatus.ERROR, "result_not_json")


async def test_a_megabyte_is_too_much(context: ToolContext, caplog: pytest.LogCaptureFixture) -> None:
    @tool(max_result_bytes=1000)
    def everything() -> str:
        """Return everything."""
        return SECRET * 50_000

    outcome = await run_tool(everything, "{}", context)
    assert (outcome.status, outcome.code) == (ToolStatus.ERROR, "result_too_large")
    size = len(SECRET) * 50_000 + 2
    assert f"{size} bytes, at most 1000" in error_of(outcome)["message"]
    assert len(outcome.output) < 500
    assert [(r.message, r.__dict__["result_bytes"]) for r in caplog.records] == [
        ("a tool returned too much", size)
    ]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        StopIteration(SECRET),
        SystemExit(3),
        asyncio.CancelledError(),
        TimeoutError(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_tool_that_raises(
    context: ToolContext, caplog: pytest.LogCaptureFixture, kind: str, error: BaseException
) -> None:
    def fail() -> None:
        """Fail."""
        raise error

    async def fail_later() -> None:
        """Fail."""
        await asyncio.sleep(0)
        raise error

    made = tool(idempotent=True)(fail if kind == "sync" else fail_later)
    outcome = await run_tool(made, "{}", context)
    assert (outcome.status, outcome.code, outcome.retryable) == (ToolStatus.ERROR, "tool_failed", True)
    assert SECRET not in outcome.output
    record = next(record for record in caplog.records if record.name == "sidetone.tools")
    assert record.__dict__["tool"] == made.name
    assert SECRET not in str(record.__dict__)
    # A coroutine turns StopIteration into RuntimeError by itself.
    expected = {type(error).__name__, "RuntimeError"} if kind == "async" else {type(error).__name__}
    assert record.__dict__["exception"] in expected


async def test_the_log_says_where_a_tool_failed(
    context: ToolContext, caplog: pytest.LogCaptureFixture
) -> None:
    @tool()
    def fail() -> None:
        """Fail."""
        raise ValueError(SECRET)

    outcome = await run_tool(fail, "{}", context)
    assert not outcome.retryable  # it is not idempotent
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    line = fail.function.__code__.co_firstlineno + 3
    assert record.__dict__["frames"][-1] == f"test_execution.py:{line} fail"


async def test_a_validator_that_breaks_is_a_failed_tool(context: ToolContext) -> None:
    @tool()
    def use(a: Annotated[str, AfterValidator(_broken)]) -> None:
        """Use."""

    outcome = await run_tool(use, '{"a": "x"}', context)
    assert (outcome.status, outcome.code) == (ToolStatus.ERROR, "tool_failed")


async def test_a_refusal_reaches_the_model_word_for_word(
    context: ToolContext, caplog: pytest.LogCaptureFixture
) -> None:
    @tool(idempotent=True)
    def refuse() -> None:
        """Refuse."""
        raise ToolRefusedError("There is no such claim.", code="unknown_claim")

    outcome = await run_tool(refuse, "{}", context)
    assert outcome.status is ToolStatus.ERROR
    assert error_of(outcome) == {"code": "unknown_claim", "message": "There is no such claim."}
    assert not outcome.retryable
    assert not caplog.records


def test_a_refusal_has_a_proper_code() -> None:
    with pytest.raises(ValueError, match="snake_case"):
        ToolRefusedError("No.", code="Not A Code")


async def test_a_coroutine_that_hangs_is_cancelled(context: ToolContext) -> None:
    cancelled = asyncio.Event()

    @tool(timeout_s=0.05)
    async def hang() -> None:
        """Hang."""
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    outcome = await run_tool(hang, "{}", context)
    assert (outcome.status, outcome.code, outcome.retryable) == (ToolStatus.TIMEOUT, "tool_timeout", False)
    assert "whether it took effect is not known" in error_of(outcome)["message"]
    assert cancelled.is_set()


async def test_a_coroutine_that_ignores_its_cancellation_is_left_behind(
    context: ToolContext, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.tools.deadlines.GRACE_S", 0.05)
    release = asyncio.Event()

    @tool(timeout_s=0.05)
    async def stubborn() -> None:
        """Stay."""
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    outcome = await run_tool(stubborn, "{}", context)
    assert outcome.status is ToolStatus.TIMEOUT
    assert "ignores its cancellation" in caplog.text
    release.set()
    await eventually(lambda: len(asyncio.all_tasks()) == 1, what="the tool's task has ended")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_cancelling_the_caller_is_passed_on(context: ToolContext, kind: str) -> None:
    started, stopped = threading.Event(), asyncio.Event()
    release = threading.Event()

    def wait() -> None:
        """Wait."""
        started.set()
        release.wait(10)

    async def wait_async() -> None:
        """Wait."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    task = asyncio.create_task(run_tool(tool()(wait if kind == "sync" else wait_async), "{}", context))
    await eventually(started.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set() == (kind == "async")
    release.set()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hanging tools wait for; opened at the end, so that no thread is left."""
    opened = threading.Event()
    yield opened
    opened.set()
    deadline = time.monotonic() + 10
    while any(thread.name == "tool" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a tool's thread is still there"
        time.sleep(0.005)


async def test_sync_tools_that_hang_do_not_block_others(context: ToolContext, gate: threading.Event) -> None:
    running = threading.Semaphore(0)

    @tool(timeout_s=0.2)
    def hang() -> None:
        """Hang."""
        running.release()
        gate.wait()

    @tool()
    def quick() -> str:
        """Be quick."""
        return "here"

    hanging = [asyncio.create_task(run_tool(hang, "{}", context)) for _ in range(MAX_THREADS - 1)]
    for _ in hanging:
        await eventually(lambda: running.acquire(blocking=False), what="another hanging tool has begun")
    assert (await run_tool(quick, "{}", context)).output == '"here"'
    assert {(await task).status for task in hanging} == {ToolStatus.TIMEOUT}
    # They timed out, and still hold their threads: the last one is free, no more.
    last = asyncio.create_task(run_tool(hang, "{}", context))
    await eventually(lambda: running.acquire(blocking=False))
    busy = await run_tool(quick, "{}", context)
    assert (busy.status, busy.code, busy.retryable) == (ToolStatus.ERROR, "tools_busy", True)
    assert (await run_tool(add, '{"a": 2}', context)).status is ToolStatus.OK  # coroutines need no thread
    await last
    gate.set()
    await eventually(lambda: not any(thread.name == "tool" for thread in threading.enumerate()))
    assert (await run_tool(quick, "{}", context)).status is ToolStatus.OK


async def test_a_sync_tool_runs_off_the_loop_with_its_context_variables(context: ToolContext) -> None:
    variable = contextvars.ContextVar("variable", default="")
    variable.set("bound")

    @tool()
    def where() -> list[object]:
        """Say where it runs."""
        return [threading.current_thread() is threading.main_thread(), variable.get()]

    assert json.loads((await run_tool(where, "{}", context)).output) == [False, "bound"]


def test_a_hanging_tool_does_not_keep_the_process() -> None:
    import subprocess

    script = """
import asyncio, threading
from shared.tools import ToolContext, tool
from shared.tools.execution import run_tool

@tool(timeout_s=0.1)
def hang() -> None:
    "Hang."
    threading.Event().wait()

context = ToolContext(session_id="s", tool_call_id="c", idempotency_key="k", agent="a")
print(asyncio.run(run_tool(hang, "{}", context)).status)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "timeout\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        ("claim_state", ["claim_status", "book"], "Did you mean claim_status?"),
        ("zzz", ["claim_status", "book"], "There are: book, claim_status."),
        ("zzz", [], "There are: none."),
    ],
)
def test_an_unknown_tool(name: str, known: list[str], told: str) -> None:
    outcome = unknown_tool_outcome(name, known)
    assert (outcome.status, outcome.code) == (ToolStatus.INVALID, "unknown_tool")
    assert told in error_of(outcome)["message"]


def test_a_tool_is_still_a_function(context: ToolContext) -> None:
    @tool()
    def double(a: Annotated[int, Field(description="A number.")], context: ToolContext) -> int:
        """Double it."""
        return a * 2

    plain: Callable[..., object] = double
    assert isinstance(double, Tool)
    assert plain(2, context=context) == 4
