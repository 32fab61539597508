"""A team of two agents under test: a reception, and billing, which needs `member_verified`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.role import HandoffRule, Role, ToolManners
from realtime_worker.conversation.setup import ConversationSetup
from shared.session.log import LogEntry, ToolCalled, ToolExecution
from shared.session.model import Standing

TO_BILLING, TO_RECEPTION = "handoff_to_billing", "handoff_to_reception"


def configuration(agent: str, tools: Iterable[str], number: int = 0) -> Mapping[str, object]:
    """A `session.update` as a worker makes it."""
    return {
        "type": "session.update",
        "event_id": f"cfg_{number}_{agent}",
        "session": {
            "type": "realtime",
            "instructions": f"You are {agent}.",
            "tools": [{"type": "function", "name": name} for name in tools],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "turn_detection": {"create_response": True, "interrupt_response": True},
                },
                "output": {"voice": "marin"},
            },
        },
    }


RECEPTION = Role(
    agent="reception",
    version="v1",
    configuration=configuration("reception", ["verify", "look_up", "book", TO_BILLING]),
    executions={
        "verify": ToolExecution.INLINE,
        "look_up": ToolExecution.INLINE,
        "book": ToolExecution.DURABLE,
    },
    repeatable=frozenset({"verify", "look_up"}),
    manners={
        "look_up": ToolManners(filler="One moment.", filler_after_ms=1_500, cancellable=True),
        "book": ToolManners(filler="I am booking it.", filler_after_ms=2_000),
    },
    handoffs={
        TO_BILLING: HandoffRule(to="billing", requires=("member_verified",), announce="Over to billing.")
    },
)
BILLING = Role(
    agent="billing",
    version="v1",
    configuration=configuration("billing", ["pay", TO_RECEPTION]),
    executions={"pay": ToolExecution.INLINE},
    requires={"pay": ("member_verified",)},
    handoffs={TO_RECEPTION: HandoffRule(to="reception")},
)
ROLES = {"reception": RECEPTION, "billing": BILLING}
VERIFIED = Standing(agent="reception", agent_version="v1", facts={"member_verified": True})


def team_setup(
    *,
    standing: Standing | None = None,
    unanswered: Iterable[ToolCalled] = (),
    answered: Mapping[str, str] = {},
    resumed: bool = False,
    own_session: bool = False,
    history: Iterable[LogEntry] = (),
    max_handoffs: int = 10,
    epoch: int = 1,
    greeting: str = "",
    roles: Mapping[str, Role] = ROLES,
) -> ConversationSetup:
    calls = tuple(unanswered)
    role = roles[standing.agent if standing else "reception"]
    return ConversationSetup(
        session_id="ses_x",
        role=role,
        earlier=tuple(one for one in roles.values() if one is not role),
        standing=standing,
        max_handoffs=max_handoffs,
        worker="w1",
        epoch=epoch,
        call_id="" if own_session else "rtc_1",
        greeting=greeting,
        unanswered=calls,
        answered=answered,
        resumed=resumed,
        own_session=own_session,
        history=tuple(history),
    )


def team_conversation(**given: Any) -> Conversation:  # what team_setup takes
    """The team in a conversation."""
    return Conversation(team_setup(**given))
