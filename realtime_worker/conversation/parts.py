"""The parts of one conversation, made once and shared by what plays them together."""

from __future__ import annotations

from realtime_worker.conversation.cast import Cast
from realtime_worker.conversation.ending import Ending
from realtime_worker.conversation.inbox_progress import InboxProgress
from realtime_worker.conversation.keypad import Keypad
from realtime_worker.conversation.limits import LimitWatch
from realtime_worker.conversation.notices import Notices
from realtime_worker.conversation.own_sessions import OwnSessions
from realtime_worker.conversation.responses import ResponseSequencer
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.conversation.standing import StandingBook
from realtime_worker.conversation.tool_flow import ToolFlow
from realtime_worker.conversation.turns import TurnTracker
from realtime_worker.conversation.usage_meter import UsageMeter
from shared.session.model import Standing


class Parts:
    """What one conversation is made of. own: None where the provider's session outlives our connection."""

    __slots__ = (
        "cast",
        "ending",
        "inbox",
        "keypad",
        "notices",
        "own",
        "responses",
        "tools",
        "turns",
        "usage",
        "watch",
    )

    def __init__(self, setup: ConversationSetup) -> None:
        role = setup.role
        self.responses = ResponseSequencer(f"rsp_{setup.epoch}_")
        self.own = OwnSessions(setup.history, self.responses) if setup.own_session else None
        self.cast = Cast(role, setup.earlier)
        standing = setup.standing or Standing(agent=role.agent, agent_version=role.version)
        self.tools = ToolFlow(setup, self.cast, StandingBook(standing), self.responses)
        self.turns = TurnTracker(setup.history)
        self.usage = UsageMeter(setup.usage, setup.prices)
        self.watch = LimitWatch(setup.limits)
        self.inbox = InboxProgress()
        self.notices = Notices(self.inbox, self.responses)
        self.keypad = Keypad(setup, self.responses, self.turns)
        self.ending = Ending(self.responses)
