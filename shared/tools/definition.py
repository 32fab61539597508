"""`@tool`: a typed Python function becomes something that a model may call."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias, get_type_hints

from shared.errors import SidetoneError
from shared.session.log import ToolExecution
from shared.tools.approval import ApprovalRule
from shared.tools.injection import Injection, UnusableInjectionError, injected
from shared.tools.options import (
    DEFAULT_ATTEMPTS,
    DEFAULT_BACKOFF_S,
    DurableOptions,
    Filler,
    OnCallEnd,
    UnusableOptionError,
    check_cancellable,
    durable_options,
    fact_names,
    filler,
    redacted_fields,
)
from shared.tools.parameters import ReadsArguments, UnusableParametersError, read_parameters

# An inline tool keeps the caller waiting; beyond this it has to be durable, so that the agent can talk on.
MAX_INLINE_TIMEOUT_S = 30.0
DEFAULT_TIMEOUT_S: Mapping[ToolExecution, float] = {ToolExecution.INLINE: 5.0, ToolExecution.DURABLE: 60.0}
# A result is read by the model, and billed again with every later turn.
DEFAULT_MAX_RESULT_BYTES = 32_768
# It must fit into an entry of the event log even when every character of it has to be escaped.
LARGEST_MAX_RESULT_BYTES = 100_000
MAX_DESCRIPTION = 1024

ToolFunction: TypeAlias = Callable[..., object]

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


class ToolDefinitionError(SidetoneError):
    """A function can't be a tool. `file` and `line` say where it is defined."""

    def __init__(self, function: ToolFunction, what: str) -> None:
        code = getattr(inspect.unwrap(function), "__code__", None)
        self.file: str = code.co_filename if code else ""
        self.line: int = code.co_firstlineno if code else 0
        self.tool: str = getattr(function, "__name__", repr(function))
        self.what = what
        super().__init__("tool_invalid", f"The tool {self.tool} ({self.file}:{self.line}): {what}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tool:
    """A function that the model may call. Calling the Tool calls the function, so tests stay plain.

    description: tells the model when and how to use it (the docstring).
    execution: inline (in the worker, at most MAX_INLINE_TIMEOUT_S) or durable (an orchestration).
    idempotent: whether running it twice for one call is harmless; only then is it ever run again.
    timeout_s: seconds one attempt may take.
    max_result_bytes: how much JSON text, in UTF-8 bytes, it may return.
    requires: facts that must be known of the session before it may run.
    sets_facts: facts that it may set.
    redact: fields of arguments and result, at any depth, that no person and no sink gets to read.
    speak_while_running: what the agent says when it takes long; None for nothing.
    cancel_on_interrupt: whether it is cancelled when the caller begins to speak.
    durable: how its orchestration treats it, where it has one.
    becomes_durable: whether an inline call goes on as an orchestration when it needs an approval.
    parameters: JSON schema of the arguments: one flat object, closed (additionalProperties false).
    injection: the parameters of the function that are filled in by their type.
    """

    name: str
    description: str
    execution: ToolExecution
    idempotent: bool
    timeout_s: float
    max_result_bytes: int
    parameters: Mapping[str, object] = field(repr=False)
    function: ToolFunction = field(repr=False)
    reader: ReadsArguments = field(repr=False)
    injection: Injection = field(default_factory=Injection, repr=False)
    requires: tuple[str, ...] = ()
    sets_facts: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()
    speak_while_running: Filler | None = None
    cancel_on_interrupt: bool = False
    durable: DurableOptions = field(default_factory=DurableOptions)
    becomes_durable: bool = False

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self.function(*args, **kwargs)

    @cached_property  # asked at every call
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    def function_schema(self) -> dict[str, object]:
        """Return the entry for the `tools` of a Realtime session (GA: flat, not nested in `function`)."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }


def tool(
    *,
    execution: ToolExecution | Literal["inline", "durable"] = "inline",
    idempotent: bool = False,
    timeout_s: float | None = None,
    max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES,
    requires: Collection[str] = (),
    sets_facts: Collection[str] = (),
    redact: Collection[str] = (),
    speak_while_running: str | Filler | None = None,
    cancel_on_interrupt: bool = False,
    attempts: int = DEFAULT_ATTEMPTS,
    backoff_s: float = DEFAULT_BACKOFF_S,
    deadline_s: float | None = None,
    approval: ApprovalRule | None = None,
    compensate: ToolFunction | None = None,
    notify: ToolFunction | None = None,
    on_call_end: OnCallEnd = "continue",
    name: str = "",
    description: str = "",
) -> Callable[[ToolFunction], Tool]:
    """Make a tool of a function, sync or async.

    Its parameters are either typed one by one (`Annotated[str, Field(description="…")]`), or one
    pydantic model. Parameters annotated ToolContext, ToolSession, Facts, Clock, aiohttp.ClientSession or
    IdempotencyKey are injected. It returns anything that pydantic can turn into JSON. Name and description
    default to the function's name and docstring. The options are told by Tool and DurableOptions.

    Raises ToolDefinitionError where the function can't be a tool.
    """

    def decorate(function: ToolFunction) -> Tool:
        def wrong(what: str) -> ToolDefinitionError:
            return ToolDefinitionError(function, what)

        if not inspect.isfunction(function):
            raise wrong("@tool goes on a plain function (def or async def).")
        called = name or function.__name__
        if not _NAME.fullmatch(called):
            raise wrong(f"its name is 1 to 64 of A-Z a-z 0-9 _; {called!r} is not.")
        told = inspect.cleandoc(description or function.__doc__ or "").strip()
        if not told:
            raise wrong("it needs a docstring: that is what tells the model when to use it.")
        if len(told) > MAX_DESCRIPTION:
            raise wrong(f"its description has {len(told)} characters; at most {MAX_DESCRIPTION}.")
        where = _execution(execution, wrong)
        seconds = DEFAULT_TIMEOUT_S[where] if timeout_s is None else float(timeout_s)
        if not (math.isfinite(seconds) and seconds > 0):
            raise wrong(f"timeout_s is a number of seconds above 0, not {timeout_s}.")
        if where is ToolExecution.INLINE and seconds > MAX_INLINE_TIMEOUT_S:
            raise wrong(
                f"an inline tool may take at most {MAX_INLINE_TIMEOUT_S:g} s, not {seconds:g}: "
                'the caller waits in silence. Use execution="durable".'
            )
        if not 1 <= max_result_bytes <= LARGEST_MAX_RESULT_BYTES:
            raise wrong(f"max_result_bytes is 1 to {LARGEST_MAX_RESULT_BYTES}, not {max_result_bytes}.")
        try:
            hints = get_type_hints(function, include_extras=True)
        except (NameError, TypeError, AttributeError) as error:
            raise wrong(
                f"a type of its parameters can't be found ({error}); import it in the module."
            ) from error
        try:
            filled = injected(function, hints)
            reader = read_parameters(function, hints, leave_out=filled)
            if cancel_on_interrupt:
                check_cancellable(function, where)
            own = [
                parameter for parameter in inspect.signature(function).parameters if parameter not in filled
            ]
            requires_facts, facts_set = fact_names("requires", requires), fact_names("sets_facts", sets_facts)
            masked = redacted_fields(redact, reader.schema, hints.get("return"))
            spoken = filler(speak_while_running)
            durable = durable_options(
                where,
                own,
                reader.schema,
                attempts=attempts,
                backoff_s=backoff_s,
                deadline_s=deadline_s,
                approval=approval,
                compensate=compensate,
                notify=notify,
                on_call_end=on_call_end,
            )
        except (UnusableParametersError, UnusableInjectionError, UnusableOptionError) as error:
            raise wrong(str(error)) from error
        return Tool(
            name=called,
            description=told,
            execution=where,
            idempotent=idempotent,
            timeout_s=seconds,
            max_result_bytes=max_result_bytes,
            parameters=reader.schema,
            function=function,
            reader=reader,
            injection=filled,
            requires=requires_facts,
            sets_facts=facts_set,
            redact=masked,
            speak_while_running=spoken,
            cancel_on_interrupt=cancel_on_interrupt,
            durable=durable,
        )

    return decorate


def _execution(value: str, wrong: Callable[[str], ToolDefinitionError]) -> ToolExecution:
    try:
        return ToolExecution(value)
    except ValueError as error:
        raise wrong(f'execution is "inline" or "durable", not {value!r}.') from error
