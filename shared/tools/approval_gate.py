"""Whether a tool's rule wants a person's approval before the tool runs with these arguments."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from shared.security.field_masking import masked
from shared.tools.approval import exceeds, question_of
from shared.tools.context import ToolContext
from shared.tools.definition import Tool

_log = logging.getLogger("sidetone.tools")


@dataclass(frozen=True, kw_only=True)
class ApprovalAsked:
    """A tool call that waits for a person. `began`: the function has run up to its question."""

    question: str
    expires_s: float
    began: bool = False


def asks_first(tool: Tool, arguments: Mapping[str, object], context: ToolContext) -> ApprovalAsked | None:
    """Return what a person is to be asked before `tool` runs, or None.

    A rule that can't be evaluated asks: nothing takes effect for a fault of the rule.
    """
    rule = tool.durable.approval
    if rule is None:
        return None
    plain = _plain(arguments)
    needed = not rule.above and rule.when is None
    needed = needed or exceeds(rule.above, plain)
    if not needed and tool.durable.approve_when is not None:
        when = tool.durable.approve_when
        try:
            needed = bool(when.function(**when.of(arguments, context)))
        except Exception as error:
            _log.error(
                "an approval rule failed, so a person is asked",
                extra={"tool": tool.name, "exception": type(error).__name__},
            )
            needed = True
    if not needed:
        return None
    shown = cast("Mapping[str, object]", masked(plain, tool.redact))
    return ApprovalAsked(question=question_of(rule, shown), expires_s=rule.expires_s)


def _plain(arguments: Mapping[str, object]) -> dict[str, object]:
    """Return arguments as JSON values by their names in the schema: a whole model's fields are arguments."""
    only = next(iter(arguments.values())) if len(arguments) == 1 else None
    if isinstance(only, BaseModel):
        arguments = only.model_dump(mode="json", by_alias=True)
    elif isinstance(only, Mapping):
        arguments = cast("Mapping[str, object]", only)
    return cast("dict[str, object]", to_jsonable_python(dict(arguments), fallback=str))
