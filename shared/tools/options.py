"""What `@tool` can be told beside the function: checked, and in the form that the rest works with."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticOmit, SchemaError

from shared.session.log import ToolExecution
from shared.tools.approval import LONGEST_EXPIRES_S, ApprovalRule, names_in
from shared.tools.companions import Companion, companion
from shared.tools.facts import check_fact_name
from shared.tools.injection import UnusableInjectionError

OnCallEnd: TypeAlias = Literal["continue", "cancel"]

DEFAULT_ATTEMPTS = 3
MAX_ATTEMPTS = 20
DEFAULT_BACKOFF_S = 1.0
# The pause after each attempt is this much longer than the one before.
BACKOFF_FACTOR = 4.0
LONGEST_PAUSE_S = 300.0
DEFAULT_FILLER_AFTER_S = 1.5
MAX_FILLER_CHARS = 200


class UnusableOptionError(Exception):
    """An option of `@tool` can't be as it is; the text names it and says what would be right."""


@dataclass(frozen=True, kw_only=True)
class Filler:
    """What the agent says while a tool runs, once nobody has spoken for `after_s` seconds."""

    text: str
    after_s: float = DEFAULT_FILLER_AFTER_S


@dataclass(frozen=True, kw_only=True)
class DurableOptions:
    """How a durable tool's orchestration treats it.

    attempts: how often it is tried, where it is idempotent. backoff_s: the first pause, seconds; each next
        one is four times as long. deadline_s: no attempt begins later than this after the first one (after
        the approval, where it needs one).
    approval: when a person has to agree first; approve_when is its `when`.
    compensate: undoes what the tool may have done, when it failed in the end or was cancelled.
    notify: is told the result when the call had ended before.
    on_call_end: whether it goes on when the call ends first.
    """

    attempts: int = DEFAULT_ATTEMPTS
    backoff_s: float = DEFAULT_BACKOFF_S
    deadline_s: float | None = None
    approval: ApprovalRule | None = None
    approve_when: Companion | None = field(default=None, repr=False)
    compensate: Companion | None = field(default=None, repr=False)
    notify: Companion | None = field(default=None, repr=False)
    on_call_end: OnCallEnd = "continue"

    def pause_s(self, attempt: int, elapsed_s: float) -> float | None:
        """Return how long to wait after the failed attempt number `attempt` (from 1), or None to give up."""
        if attempt >= self.attempts:
            return None
        pause = min(self.backoff_s * BACKOFF_FACTOR ** (attempt - 1), LONGEST_PAUSE_S)
        late = self.deadline_s is not None and elapsed_s + pause > self.deadline_s
        return None if late else pause


def fact_names(option: str, names: Collection[str]) -> tuple[str, ...]:
    """Return the names of facts. Raises UnusableOptionError."""
    try:
        for name in _listed(option, names):
            check_fact_name(name)
    except ValueError as error:
        raise UnusableOptionError(f"{option}: {error}.") from error
    return tuple(names)


def redacted_fields(
    names: Collection[str], parameters: Mapping[str, object], returned: object
) -> tuple[str, ...]:
    """Return the fields to mask. Each must be one of the parameters' or of the result's, at any depth:
    a slip in a name would show what was to be hidden. `returned`: the annotation, None where there is none.

    Raises UnusableOptionError.
    """
    known, open_ended = _fields_of(parameters)
    if names:
        of_result, open_result = _fields_of(_schema_of(returned))
        known, open_ended = known | of_result, open_ended or open_result
    for name in _listed("redact", names):
        if name not in known and not open_ended:
            listed = ", ".join(sorted(known)) or "none"
            raise UnusableOptionError(f"redact: there is no parameter or field {name}; there are: {listed}.")
    return tuple(names)


def filler(option: str | Filler | None) -> Filler | None:
    """Return what is said while the tool runs. Raises UnusableOptionError."""
    given = Filler(text=option) if isinstance(option, str) else option
    if given is None or not given.text.strip():
        return None
    if len(given.text) > MAX_FILLER_CHARS:
        raise UnusableOptionError(f"speak_while_running: at most {MAX_FILLER_CHARS} characters.")
    if not (math.isfinite(given.after_s) and 0 < given.after_s <= 60):
        raise UnusableOptionError("speak_while_running: after_s is a number of seconds above 0, at most 60.")
    return given


def check_cancellable(function: Callable[..., object], execution: ToolExecution) -> None:
    """Raise UnusableOptionError where `cancel_on_interrupt` can't be kept."""
    if execution is ToolExecution.DURABLE:
        raise UnusableOptionError("cancel_on_interrupt: a durable tool outlives interruptions.")
    if not inspect.iscoroutinefunction(function):
        raise UnusableOptionError(
            "cancel_on_interrupt needs async def: a plain def runs in a thread, which nothing can stop."
        )


def durable_options(
    execution: ToolExecution,
    parameters: Collection[str],
    schema: Mapping[str, object],
    *,
    attempts: int,
    backoff_s: float,
    deadline_s: float | None,
    approval: ApprovalRule | None,
    compensate: Callable[..., object] | None,
    notify: Callable[..., object] | None,
    on_call_end: OnCallEnd,
) -> DurableOptions:
    """Return the options of a durable tool, whose function has `parameters` and whose arguments fit `schema`.

    Raises UnusableOptionError.
    """
    given = {
        "attempts": attempts != DEFAULT_ATTEMPTS,
        "backoff_s": backoff_s != DEFAULT_BACKOFF_S,
        "deadline_s": deadline_s is not None,
        "approval": approval is not None,
        "compensate": compensate is not None,
        "notify": notify is not None,
        "on_call_end": on_call_end != "continue",
    }
    if execution is ToolExecution.INLINE and any(given.values()):
        name = next(name for name, is_given in given.items() if is_given)
        raise UnusableOptionError(f'{name} is for durable tools; add execution="durable".')
    if not 1 <= attempts <= MAX_ATTEMPTS:
        raise UnusableOptionError(f"attempts is 1 to {MAX_ATTEMPTS}, not {attempts}.")
    for name, seconds in (("backoff_s", backoff_s), ("deadline_s", deadline_s)):
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise UnusableOptionError(f"{name} is a number of seconds above 0, not {seconds}.")
    if on_call_end not in ("continue", "cancel"):
        raise UnusableOptionError(f'on_call_end is "continue" or "cancel", not {on_call_end!r}.')
    if approval is not None:
        check_approval(approval, schema)
    when = approval.when if approval else None
    return DurableOptions(
        attempts=attempts,
        backoff_s=backoff_s,
        deadline_s=deadline_s,
        approval=approval,
        approve_when=_companion("approval.when", when, parameters),
        compensate=_companion("compensate", compensate, parameters),
        notify=_companion("notify", notify, parameters),
        on_call_end=on_call_end,
    )


def check_approval(rule: ApprovalRule, schema: Mapping[str, object]) -> None:
    """Raise UnusableOptionError where a rule does not fit a tool whose arguments fit `schema`."""
    fields = schema.get("properties")
    known = set(cast("Mapping[str, object]", fields)) if isinstance(fields, Mapping) else set[str]()
    try:
        named = names_in(rule.question) | rule.above.keys()
    except ValueError as error:
        raise UnusableOptionError(f"approval: {error}.") from error
    if not rule.question.strip():
        raise UnusableOptionError("approval: it needs a question, for the person who decides.")
    if unknown := sorted(named - known):
        raise UnusableOptionError(f"approval: there is no parameter {unknown[0]}.")
    if not (math.isfinite(rule.expires_s) and 0 < rule.expires_s <= LONGEST_EXPIRES_S):
        raise UnusableOptionError(f"approval: expires_s is above 0 and at most {LONGEST_EXPIRES_S:.0f}.")


def _companion(
    option: str, function: Callable[..., object] | None, parameters: Collection[str]
) -> Companion | None:
    if function is None:
        return None
    try:
        return companion(function, parameters, late_result=option == "notify")
    except UnusableInjectionError as error:
        raise UnusableOptionError(f"{option}: {error}") from error


def _listed(option: str, names: Collection[str]) -> Collection[str]:
    if isinstance(names, str):
        raise UnusableOptionError(f"{option}: write a list, even of one name.")
    return names


def _schema_of(returned: object) -> Mapping[str, object]:
    if returned is None:
        return {"properties": {}}
    try:
        return TypeAdapter(cast("type[object]", returned)).json_schema(mode="serialization")
    except (PydanticUserError, PydanticOmit, SchemaError, TypeError):
        return {}


def _fields_of(schema: object) -> tuple[set[str], bool]:
    """Return the names of all fields in a JSON schema, and whether objects in it can have others."""
    if isinstance(schema, list):
        parts = [_fields_of(part) for part in cast("list[object]", schema)]
        return {name for names, _ in parts for name in names}, any(is_open for _, is_open in parts)
    if not isinstance(schema, Mapping):
        return set(), False
    node = cast("Mapping[str, object]", schema)
    fields = node.get("properties")
    named = cast("Mapping[str, object]", fields) if isinstance(fields, Mapping) else {}
    is_open = not node or (node.get("type") == "object" and "properties" not in node)
    names = set(named)
    for key, part in node.items():
        inner = list(named.values()) if key == "properties" else part
        if key == "$defs" and isinstance(part, Mapping):
            inner = list(cast("Mapping[str, object]", part).values())
        if key in ("properties", "$defs", "items", "anyOf", "oneOf", "allOf", "prefixItems"):
            found, more = _fields_of(inner)
            names |= found
            is_open = is_open or more
    return names, is_open
