"""Run a tool: whatever it does, there is one outcome that the model can be told."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import assert_never

from pydantic_core import to_json

from shared.session.log import ToolStatus
from shared.session.model import FactValue
from shared.tools.approval import ApprovalNeededError
from shared.tools.approval_gate import ApprovalAsked, asks_first
from shared.tools.context import ToolContext
from shared.tools.deadlines import (
    Ending,
    NoThreadFree,
    Raised,
    Returned,
    TimedOut,
    await_within,
    run_in_thread_within,
)
from shared.tools.definition import Tool
from shared.tools.parameters import ArgumentProblem, InvalidArgumentsError
from shared.tools.refusal import ToolRefusedError

_log = logging.getLogger("sidetone.tools")
_FRAMES = 5


@dataclass(frozen=True, kw_only=True)
class ToolOutcome:
    """How one attempt at a tool call came out.

    output: JSON text for the model; on failure {"error": {"code", "message"}}.
    duration_ms: wall time of the attempt.
    code: stable failure code, "" when status is OK.
    retryable: running the same call again is harmless and may help.
    facts: what the server knows of the session from now on; None forgets one.
    began: the function was entered, so it may have had an effect.
    """

    status: ToolStatus
    output: str
    duration_ms: float
    code: str = ""
    retryable: bool = False
    facts: Mapping[str, FactValue | None] = field(default_factory=dict[str, FactValue | None], repr=False)
    began: bool = False


async def run_tool(tool: Tool, arguments_json: str, context: ToolContext) -> ToolOutcome:
    """Run an inline `tool` once with the model's arguments. Raises nothing but CancelledError.

    As `attempt_tool`; one that asks for an approval has failed.
    """
    ending = await attempt_tool(tool, arguments_json, context)
    if isinstance(ending, ApprovalAsked):
        _log.error("an inline tool asked for an approval; only durable ones can", extra={"tool": tool.name})
        return _Attempt(tool).failed_for_good()
    return ending


async def attempt_tool(
    tool: Tool,
    arguments_json: str,
    context: ToolContext,
    *,
    begins: Callable[[], Awaitable[ToolOutcome | None]] | None = None,
) -> ToolOutcome | ApprovalAsked:
    """Run `tool` once with the model's arguments; or find that a person has to be asked first.

    begins: called right before the function is; an outcome that it returns keeps the function from running.
    Raises nothing but CancelledError, and what `begins` raises.

    Codes: invalid_arguments (INVALID); tool_timeout (TIMEOUT); tool_failed, tools_busy,
    result_not_json, result_too_large, and whatever code a ToolRefusedError carries (ERROR).
    """
    attempt = _Attempt(tool)
    try:
        arguments = tool.reader.read(arguments_json)
    except InvalidArgumentsError as error:
        return attempt.invalid(error.problems)
    except Exception as error:  # a validator of the tool's own raised something unexpected
        return attempt.raised(error)
    if context.approval is None and (asked := asks_first(tool, arguments, context)):
        return asked
    if begins is not None and (kept_from_it := await begins()):
        return kept_from_it
    attempt.began = True
    ending = await _call(tool, {**arguments, **tool.injection.values(context)})
    match ending:
        case Returned(value=result):
            return attempt.returned(result, context.facts.changes)
        case Raised(error=ApprovalNeededError() as error):
            return ApprovalAsked(question=error.question, expires_s=error.expires_s, began=True)
        case Raised(error=error):
            return attempt.raised(error)
        case TimedOut():
            return attempt.timed_out()
        case NoThreadFree():
            return attempt.not_started()
        case _:
            assert_never(ending)


def unknown_tool_outcome(name: str, known: Collection[str]) -> ToolOutcome:
    """Return the outcome of a call to a tool that the agent does not have."""
    near = get_close_matches(name, list(known), n=1)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known)) or 'none'}."
    return ToolOutcome(
        status=ToolStatus.INVALID,
        output=_error("unknown_tool", f"There is no tool called {name[:64]}. {hint}"),
        duration_ms=0.0,
        code="unknown_tool",
    )


@dataclass(frozen=True, kw_only=True)
class _Rendered:
    utf8: bytes


@dataclass(frozen=True, kw_only=True)
class _NotJson:
    result_type: str
    exception: str


class _Attempt:
    """One run of a tool: its clock, and the outcomes that it can have."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self._started = time.perf_counter()
        self.began = False

    def returned(self, result: _Rendered | _NotJson, facts: Mapping[str, FactValue | None]) -> ToolOutcome:
        tool = self._tool
        if undeclared := sorted(facts.keys() - set(tool.sets_facts)):
            _log.error(
                "a tool set a fact that it does not declare", extra={"tool": tool.name, "facts": undeclared}
            )
            return self.failed_for_good()
        match result:
            case _Rendered(utf8=utf8) if len(utf8) <= tool.max_result_bytes:
                return ToolOutcome(
                    status=ToolStatus.OK,
                    output=utf8.decode(),
                    duration_ms=self._elapsed_ms(),
                    facts=facts,
                    began=True,
                )
            case _Rendered(utf8=utf8):
                size, limit = len(utf8), tool.max_result_bytes
                _log.error(
                    "a tool returned too much",
                    extra={"tool": tool.name, "result_bytes": size, "max_result_bytes": limit},
                )
                return self._failed(
                    "result_too_large",
                    f"{tool.name} found more than fits: {size} bytes, at most {limit}. "
                    "Ask for something narrower.",
                )
            case _NotJson(result_type=kind, exception=exception):
                _log.error(
                    "a tool returned what is not JSON",
                    extra={"tool": tool.name, "result_type": kind, "exception": exception},
                )
                return self._failed("result_not_json", f"{tool.name} ran, but its result can't be read.")
            case _:
                assert_never(result)

    def raised(self, error: BaseException) -> ToolOutcome:
        if isinstance(error, ToolRefusedError):
            self.began = False  # it says itself that it did nothing
            return self._failed(error.code, error.message)
        _log_failure(self._tool, error)
        return self._failed(
            "tool_failed",
            f"{self._tool.name} failed. Tell the caller that it did not work just now.",
            retryable=self._tool.idempotent,
        )

    def failed_for_good(self) -> ToolOutcome:
        return self._failed(
            "tool_failed", f"{self._tool.name} failed. Tell the caller that it did not work just now."
        )

    def invalid(self, problems: list[ArgumentProblem]) -> ToolOutcome:
        return self._failed(
            "invalid_arguments",
            f"The arguments do not fit {self._tool.name}: {_sentence(problems)}. "
            "Correct them, asking the caller if you have to, and call it again.",
            status=ToolStatus.INVALID,
        )

    def timed_out(self) -> ToolOutcome:
        tool = self._tool
        _log.warning("a tool timed out", extra={"tool": tool.name, "timeout_s": tool.timeout_s})
        after = "it may be called again" if tool.idempotent else "whether it took effect is not known"
        return self._failed(
            "tool_timeout",
            f"{tool.name} did not answer within {tool.timeout_s:g} seconds; {after}.",
            status=ToolStatus.TIMEOUT,
            retryable=tool.idempotent,
        )

    def not_started(self) -> ToolOutcome:
        _log.error("no thread is free for a tool", extra={"tool": self._tool.name})
        self.began = False
        return self._failed("tools_busy", "Too much is going on; try again in a moment.", retryable=True)

    def _failed(
        self, code: str, message: str, *, status: ToolStatus = ToolStatus.ERROR, retryable: bool = False
    ) -> ToolOutcome:
        return ToolOutcome(
            status=status,
            output=_error(code, message),
            duration_ms=self._elapsed_ms(),
            code=code,
            retryable=retryable,
            began=self.began,
        )

    def _elapsed_ms(self) -> float:
        return round((time.perf_counter() - self._started) * 1000, 3)


async def _call(tool: Tool, arguments: dict[str, object]) -> Ending[_Rendered | _NotJson]:
    """Run the function and render its result where it ran: a big result must not hold up the loop."""
    function = tool.function
    if tool.is_async:

        async def awaited() -> _Rendered | _NotJson:
            return _render(await function(**arguments))  # type: ignore[misc]  is_async says that it can be

        return await await_within(tool.timeout_s, awaited)
    return await run_in_thread_within(tool.timeout_s, lambda: _render(function(**arguments)))


def _render(result: object) -> _Rendered | _NotJson:
    try:
        return _Rendered(utf8=to_json(result, inf_nan_mode="null"))
    except Exception as error:  # unknown types, cycles, lone surrogates, a serializer of the tool's own
        return _NotJson(result_type=type(result).__name__, exception=type(error).__name__)


def _error(code: str, message: str) -> str:
    return to_json({"error": {"code": code, "message": message}}).decode()


def _sentence(problems: list[ArgumentProblem]) -> str:
    return "; ".join(f"{p.field}: {p.problem}" if p.field else p.problem for p in problems)


def _log_failure(tool: Tool, error: BaseException) -> None:
    """Log what failed and where, without the exception's text: it can hold what the caller said."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    _log.error(
        "a tool failed",
        extra={
            "tool": tool.name,
            "exception": type(error).__name__,
            "frames": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
        },
    )
