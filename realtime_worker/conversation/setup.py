"""What a conversation needs to know about its session, and where it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from realtime_worker.conversation.limits import Limits
from realtime_worker.conversation.role import Role
from shared.session.log import LogEntry, ToolCalled
from shared.session.model import Standing, Usage
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

    role: the agent that speaks. earlier: those before it whose calls are among `unanswered`.
    standing: who speaks and what is known, as recorded; None where nothing is.
    max_handoffs: how often the call may be handed over.
    unanswered: calls that an earlier owner recorded without a result.
    answered: calls that have their result, with the outputs of the latest ("" for older ones): the
        provider may show them once more, or may never have got the last output.
    limits: what makes the server do that.
    prices: of the model's tokens, None where they are not known.
    resumed: another owner has talked here before: no greeting, no history replay.
    own_session: the provider's session belongs to our own connection and ends with it; the next one is
        seeded from `history`, the session's log so far, and `call_id` is empty.
    """

    session_id: str
    role: Role
    worker: str
    epoch: int
    call_id: str
    greeting: str
    earlier: tuple[Role, ...] = ()
    standing: Standing | None = None
    max_handoffs: int = 10
    limits: Limits = field(default_factory=Limits)
    unanswered: tuple[ToolCalled, ...] = ()
    answered: Mapping[str, str] = field(default_factory=dict[str, str])
    resumed: bool = False
    own_session: bool = False
    history: tuple[LogEntry, ...] = ()
    usage: Usage = field(default_factory=Usage)
    prices: TokenPrices | None = None
