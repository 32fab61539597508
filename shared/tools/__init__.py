"""Tools: typed Python functions that a model may call.

`from shared.tools import ToolContext, ToolRefusedError, tool` is all that a tool module needs.
"""

from __future__ import annotations

from shared.tools.context import ToolContext
from shared.tools.definition import Tool, ToolDefinitionError, tool
from shared.tools.facts import Facts
from shared.tools.refusal import ToolRefusedError

__all__ = ["Facts", "Tool", "ToolContext", "ToolDefinitionError", "ToolRefusedError", "tool"]
