"""An agent as a conversation needs it, and the other agents that it may hand the call to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from realtime_worker.conversation.consent import ConsentTerms
from shared.session.log import ToolExecution
from shared.session.model import FactValue


@dataclass(frozen=True, kw_only=True)
class HandoffRule:
    """An agent that may take over.

    requires: facts that must be known before: the handoff's own and those of the agent itself.
    announce: what is said, word for word, when it takes over; "" for a silent handoff.
    """

    to: str
    requires: tuple[str, ...] = ()
    announce: str = ""


@dataclass(frozen=True, kw_only=True)
class ToolManners:
    """How a tool behaves towards the caller, and who may read what it was given and gave.

    redact: fields of its arguments and output that are masked wherever people read them.
    filler: what is said while it runs, after `filler_after_ms` of silence; "" for nothing.
    cancellable: it is cancelled when the caller begins to speak.
    """

    redact: tuple[str, ...] = ()
    filler: str = ""
    filler_after_ms: int = 0
    cancellable: bool = False


NO_MANNERS = ToolManners()


@dataclass(frozen=True, kw_only=True)
class Role:
    """An agent as one conversation needs it.

    version: digest of its files.
    configuration: the `session.update` event that makes the call follow it.
    farewell: what it says before the server ends the call by itself.
    executions: its tools and where each runs.
    repeatable: names of the inline tools that may run again when cut off in mid-run.
    requires: the facts that a tool needs first, by the tool's name; those that need none are left out.
    handoffs: the tools that hand the call over, by name.
    manners: of tools that have any, by name.
    consent: what callers hear first, and may have to agree to. records: the call is to be recorded then.
    """

    agent: str
    version: str = ""
    configuration: Mapping[str, object]
    farewell: str = ""
    executions: Mapping[str, ToolExecution] = field(default_factory=dict[str, ToolExecution])
    repeatable: frozenset[str] = frozenset()
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    handoffs: Mapping[str, HandoffRule] = field(default_factory=dict[str, HandoffRule])
    manners: Mapping[str, ToolManners] = field(default_factory=dict[str, ToolManners])
    consent: ConsentTerms | None = None
    records: bool = False

    def has(self, tool: str) -> bool:
        """Return whether the agent has a tool of this name, one that hands over among them."""
        return tool in self.executions or tool in self.handoffs

    def manners_of(self, tool: str) -> ToolManners:
        """Return how a tool behaves."""
        return self.manners.get(tool, NO_MANNERS)

    @property
    def tool_names(self) -> list[str]:
        return sorted([*self.executions, *self.handoffs])


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The agent that a handoff leads to, and what the model told along, as its contract says."""

    role: Role
    context: Mapping[str, FactValue] = field(default_factory=dict[str, FactValue], repr=False)


@dataclass(frozen=True, kw_only=True)
class Declined:
    """The handoff can't be: what the model told does not fit its contract. `message` is for the model."""

    code: str
    message: str


HandoffAnswer: TypeAlias = Accepted | Declined
