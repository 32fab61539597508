"""What a session's runner is given."""

from __future__ import annotations

from dataclasses import dataclass

from realtime_worker.conversation.core import Conversation
from realtime_worker.team import Team
from shared.session.model import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionTask:
    """The session and its agents, its fencing number, its conversation, not begun."""

    session: Session
    team: Team
    epoch: int
    conversation: Conversation
    traceparent: str
