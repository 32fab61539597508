"""What a mind gets to see when it has to answer."""

from __future__ import annotations

from dataclasses import dataclass

from emulators.realtime.session.conversation import Item
from emulators.realtime.wire import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A response to make up: the instructions in force, the tools declared, the conversation so far.

    `response_instructions` are those of this one response (they came with `response.create`), if any.
    `in_conversation` is false for an out-of-band response, which must leave no trace in the mind.
    """

    response_id: str
    instructions: str
    response_instructions: str | None
    tools: tuple[Json, ...]
    tool_choice: object
    items: tuple[Item, ...]
    in_conversation: bool
    metadata: object

    @property
    def tool_names(self) -> frozenset[str]:
        """Names of the declared function tools."""
        names = (tool.get("name") for tool in self.tools if tool.get("type") == "function")
        return frozenset(name for name in names if isinstance(name, str))
