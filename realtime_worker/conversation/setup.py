"""What a conversation needs to know about its session, and where it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from realtime_worker.conversation.limits import Limits
from shared.session.log import LogEntry, ToolCalled, ToolExecution
from shared.session.model import Usage
from shared.session.prices import TokenPrices


class Phase(Enum):
    """Where the conversation is."""

    CONFIGURING = auto()  # the socket is open or opening; the agent's configuration is not confirmed
    TALKING = auto()
    LEAVING = auto()  # the goodbye is being said
    OVER = auto()


@dataclass(frozen=True, kw_only=True)
class ConversationSetup:
    """The session, the agent, and what earlier owners have left.

    configuration: the `session.update` event that makes the call follow the agent.
    executions: the agent's tools and where each runs.
    repeatable: names of the inline tools that may run again when cut off in mid-run.
    unanswered: calls that an earlier owner recorded without a result.
    answered: calls that have their result, with the outputs of the latest ("" for older ones): the
        provider may show them once more, or may never have got the last output.
    farewell: said before the server ends the call by itself.
    limits: what makes the server do that.
    prices: of the model's tokens, None where they are not known.
    resumed: another owner has talked here before: no greeting, no history replay.
    own_session: the provider's session belongs to our own connection and ends with it; the next one is
        seeded from `history`, the session's log so far, and `call_id` is empty.
    """

    session_id: str
    agent: str
    worker: str
    epoch: int
    call_id: str
    configuration: Mapping[str, object]
    greeting: str
    farewell: str = ""
    executions: Mapping[str, ToolExecution] = field(default_factory=dict[str, ToolExecution])
    limits: Limits = field(default_factory=Limits)
    repeatable: frozenset[str] = frozenset()
    unanswered: tuple[ToolCalled, ...] = ()
    answered: Mapping[str, str] = field(default_factory=dict[str, str])
    resumed: bool = False
    own_session: bool = False
    history: tuple[LogEntry, ...] = ()
    usage: Usage = field(default_factory=Usage)
    prices: TokenPrices | None = None
