"""Tools: typed Python functions that a model may call.

`from shared.tools import ToolContext, ToolRefusedError, tool` is all that a tool module needs.
"""

from __future__ import annotations

from shared.tools.approval import Approval, ApprovalRule
from shared.tools.clock import Clock, StoppedClock
from shared.tools.companions import LateResult
from shared.tools.context import IdempotencyKey, ToolContext, ToolSession
from shared.tools.definition import Tool, ToolDefinitionError, tool
from shared.tools.facts import Facts
from shared.tools.options import Filler
from shared.tools.refusal import ToolRefusedError

__all__ = [
    "Approval",
    "ApprovalRule",
    "Clock",
    "Facts",
    "Filler",
    "IdempotencyKey",
    "LateResult",
    "StoppedClock",
    "Tool",
    "ToolContext",
    "ToolDefinitionError",
    "ToolRefusedError",
    "ToolSession",
    "tool",
]
