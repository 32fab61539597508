"""Functions that stand beside a tool: what undoes it, what tells of it later, what asks for an approval."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import get_type_hints

from shared.tools.context import ToolContext
from shared.tools.deadlines import (
    NoThreadFree,
    Raised,
    Returned,
    TimedOut,
    await_within,
    run_in_thread_within,
)
from shared.tools.injection import Injection, UnusableInjectionError, injected


@dataclass(frozen=True, kw_only=True)
class LateResult:
    """Injected into `notify`: how a durable tool came out after its call had ended.

    status: as in the session's log. output: JSON text.
    """

    status: str
    output: str


@dataclass(frozen=True, kw_only=True)
class Companion:
    """A function that is called with some of the tool's arguments, by their names, and what it asks for."""

    function: Callable[..., object]
    arguments: tuple[str, ...]
    injection: Injection
    late_result: str = ""

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    def of(
        self, arguments: Mapping[str, object], context: ToolContext, result: LateResult | None = None
    ) -> dict[str, object]:
        """Return the keyword arguments for a call; `arguments` are those of the tool."""
        own = {name: arguments[name] for name in self.arguments}
        late = {self.late_result: result} if self.late_result else {}
        return {**own, **late, **self.injection.values(context)}


def companion(
    function: Callable[..., object], tool_parameters: Collection[str], *, late_result: bool = False
) -> Companion:
    """Return `function` as a companion of a tool with these parameters.

    Raises UnusableInjectionError where a parameter of it is neither the tool's nor injected.
    """
    if not inspect.isfunction(function):
        raise UnusableInjectionError("it must be a plain function (def or async def).")
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise UnusableInjectionError(f"a type of its parameters can't be found ({error}).") from error
    result = next((name for name, kind in hints.items() if kind is LateResult and name != "return"), "")
    if result and not late_result:
        raise UnusableInjectionError("only notify can take a LateResult.")
    filled = injected(function, hints)
    own = [name for name in inspect.signature(function).parameters if name not in {*filled, result}]
    if unknown := [name for name in own if name not in tool_parameters]:
        raise UnusableInjectionError(
            f"its parameter {unknown[0]} is neither one of the tool nor filled in by its type."
        )
    return Companion(function=function, arguments=tuple(own), injection=filled, late_result=result)


async def call_companion(
    companion: Companion,
    arguments: Mapping[str, object],
    context: ToolContext,
    result: LateResult | None = None,
    *,
    within_s: float,
) -> object:
    """Call it, in a thread where it is no coroutine function. Raises what it raises, and TimeoutError."""
    values = companion.of(arguments, context, result)
    function = companion.function
    if companion.is_async:

        async def awaited() -> object:
            return await function(**values)  # type: ignore[misc]  # is_async says that it can be

        ending = await await_within(within_s, awaited)
    else:
        ending = await run_in_thread_within(within_s, lambda: function(**values))
    match ending:
        case Returned(value=value):
            return value
        case Raised(error=error):
            raise error
        case TimedOut() | NoThreadFree():
            raise TimeoutError
