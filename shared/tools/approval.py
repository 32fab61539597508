"""A person's approval in the middle of a call: when a tool needs it, and what that person is asked."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

MAX_QUESTION_CHARS = 500
DEFAULT_EXPIRES_S = 900.0
LONGEST_EXPIRES_S = 7 * 86_400.0


@dataclass(frozen=True, kw_only=True)
class Approval:
    """What an approver has decided in a call's favour.

    by: the approver, as the API knows them. comment: their words, fit to be told to the caller.
    """

    approval_id: str
    by: str
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class ApprovalRule:
    """When a durable tool needs a person's approval before it runs.

    question: what the approver reads; `{parameter}` stands for an argument, masked where it is redacted.
    above: names of numeric arguments, each with the limit above which approval is needed.
    when: decides by the arguments; its parameters are named like the tool's. Without `above` and `when`,
        every call needs approval. With both, either is enough.
    expires_s: how long the approver has, in seconds.
    """

    question: str
    above: Mapping[str, float] = field(default_factory=dict[str, float])
    when: Callable[..., bool] | None = None
    expires_s: float = DEFAULT_EXPIRES_S


class ApprovalNeededError(BaseException):
    """The tool can't go on without an approval. Not an Exception, so that no `except Exception` eats it."""

    def __init__(self, question: str, expires_s: float = DEFAULT_EXPIRES_S) -> None:
        super().__init__("an approval is needed")
        self.question = question[:MAX_QUESTION_CHARS]
        self.expires_s = min(max(expires_s, 1.0), LONGEST_EXPIRES_S)


def exceeds(above: Mapping[str, float], arguments: Mapping[str, object]) -> bool:
    """Return whether an argument is above its limit. One that is missing or no number is: a person looks."""
    return any(_number(arguments.get(name)) > Decimal(str(limit)) for name, limit in above.items())


def question_of(rule: ApprovalRule, arguments: Mapping[str, object]) -> str:
    """Return what the approver reads. `arguments`: JSON values, redacted ones masked already."""
    told = _Blanks(arguments)
    return string.Formatter().vformat(rule.question, (), told)[:MAX_QUESTION_CHARS]


def names_in(question: str) -> set[str]:
    """Return the parameters that a question names. Raises ValueError where it is no template of names."""
    found: set[str] = set()
    for _, name, form, conversion in string.Formatter().parse(question):
        if name is None:
            continue
        if not name.isidentifier() or form or conversion:
            raise ValueError(f"{{{name}}} is not the name of a parameter in braces")
        found.add(name)
    return found


class _Blanks(dict[str, object]):
    """Arguments that the model left out read as a dash."""

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__(arguments)

    def __missing__(self, key: str) -> object:
        return "-"


def _number(value: object) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return Decimal("Infinity")
    return Decimal("Infinity") if number.is_nan() else number
