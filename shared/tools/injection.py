"""Parameters that the product fills in by their type; the model never sees them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import aiohttp

from shared.tools.clock import Clock
from shared.tools.context import IdempotencyKey, ToolContext, ToolSession
from shared.tools.facts import Facts

# By type; each is made of the call's context.
_VALUES: Mapping[object, Callable[[ToolContext], object]] = {
    ToolContext: lambda context: context,
    ToolSession: lambda context: context.session,
    Facts: lambda context: context.facts,
    Clock: lambda context: context.clock,
    aiohttp.ClientSession: lambda context: context.http,
    IdempotencyKey: lambda context: context.idempotency_key,
}
_ON_THE_LOOP = frozenset({aiohttp.ClientSession})


class UnusableInjectionError(Exception):
    """A parameter can't be filled in; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Injection:
    """Which parameters of one function are filled in, and with what."""

    types: Mapping[str, object] = field(default_factory=dict[str, object])

    def __iter__(self) -> Iterator[str]:
        return iter(self.types)

    def __contains__(self, name: object) -> bool:
        return name in self.types

    def values(self, context: ToolContext) -> dict[str, object]:
        """Return the keyword arguments for one call; call it on the event loop."""
        return {name: _VALUES[kind](context) for name, kind in self.types.items()}


def injected(function: Callable[..., object], hints: Mapping[str, object]) -> Injection:
    """Return what is filled in for `function`, whose resolved annotations are `hints`.

    Raises UnusableInjectionError.
    """
    found = {name: kind for name, kind in hints.items() if name != "return" and _is_injected(kind)}
    for kind in set(found.values()):
        if list(found.values()).count(kind) > 1:
            named = getattr(kind, "__name__", str(kind))
            raise UnusableInjectionError(f"only one parameter can be the {named}.")
    if _ON_THE_LOOP & set(found.values()) and not inspect.iscoroutinefunction(function):
        raise UnusableInjectionError("the HTTP client works in an async def only.")
    return Injection(types=found)


def _is_injected(kind: object) -> bool:
    try:
        return kind in _VALUES
    except TypeError:  # not hashable, such as Annotated[list, [...]]
        return False
