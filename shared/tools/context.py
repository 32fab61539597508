"""What a tool may know of the conversation that calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.tools.facts import Facts


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """Injected into a tool's parameter that is annotated `ToolContext`; the model never sees it.

    idempotency_key: the same for every attempt at the same tool call, also after a crash. A tool with
        an effect stores it beside the effect and returns the first result when it meets it again.
    agent: the name of the agent that calls.
    variables: the values that the session was started with (not the agent's defaults).
    facts: what the server knows of the session; a tool can set some.
    """

    session_id: str
    tool_call_id: str
    idempotency_key: str
    agent: str
    variables: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    facts: Facts = field(default_factory=Facts, repr=False)
