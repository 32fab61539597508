"""From a connection that is open to one that the conversation goes on over.

The agent's configuration is confirmed, and kept; where the call went on without us, what was missed is found
out first of all. What waited for the connection is sent then.
"""

from __future__ import annotations

from dataclasses import replace

from realtime_worker.conversation.call_flow import CallActions, CallFlow, conversation_began
from realtime_worker.conversation.effects import Effect, Record, Send, SetState
from realtime_worker.conversation.guard import ConfigurationGuard
from realtime_worker.conversation.parts import Parts
from realtime_worker.conversation.records import provider_error
from realtime_worker.conversation.responses import Utterance
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.conversation.tail_probe import RETRIEVAL, TailProbe
from realtime_worker.conversation.wire import Event, text
from shared.session.log import AgentTurn, Attached
from shared.session.model import EndReason, SessionState

# How long the service may take to tell what was said last.
FIND_OUT_MS = 2_000


class ConnectionFlow:
    """The connections of one conversation, one after the other.

    hold_until_ms: while what was missed is looked for, the time at which that is given up; else None.
    """

    def __init__(self, setup: ConversationSetup, parts: Parts, call: CallFlow, actions: CallActions) -> None:
        self.hold_until_ms: int | None = None
        self._setup = setup
        self._parts = parts
        self._call = call
        self._actions = actions
        self._guard = ConfigurationGuard()
        self._probe = TailProbe(setup.epoch)
        self._connected = setup.resumed
        self._greeted = conversation_began(setup)
        self._opened_at_ms = 0

    @property
    def nothing_missing(self) -> bool:
        """Whether what was missed is found out."""
        return not self._probe.pending

    def opened(self, now_ms: int) -> list[Effect]:
        """The connection to the provider is open, for the first time or again."""
        parts = self._parts
        self._opened_at_ms = now_ms
        if parts.own is None:
            return [self._configuration()]
        parts.keypad.forget_sent()
        unheard = parts.turns.lose_session(now_ms)
        return [Record(entry=unheard)] if unheard else []

    def created(self, session: Event, now_ms: int) -> list[Effect]:
        """The service has created a session that belongs to our connection."""
        if self._parts.own is None:
            return []
        self._parts.own.began(session, now_ms)
        return [self._configuration()]

    def lost(self) -> None:
        """The connection closed."""
        parts = self._parts
        self.hold_until_ms = None
        parts.notices.lose_connection()
        if parts.own is None:
            parts.responses.lose_connection()
        else:
            parts.responses.lose_session()
        self._call.lost(session=parts.own is not None)

    def configured(self, session: Event, now_ms: int, *, talking: bool) -> list[Effect]:
        """The service follows the agent: take the call up, or go on with it, unless it is ending anyway."""
        parts, setup = self._parts, self._setup
        self._guard.confirm(session)
        parts.cast.configured()
        role = parts.cast.role
        attached = Attached(
            worker=setup.worker,
            epoch=setup.epoch,
            call_id=setup.call_id if parts.own is None else parts.own.session_id,
            took_ms=float(now_ms - self._opened_at_ms),
            agent=role.agent,
            agent_version=role.version,
            at_ms=now_ms,
        )
        effects: list[Effect] = [Record(entry=attached)]
        effects.extend(self._call.change())  # where the call was handed over since we opened
        again = self._connected
        if not self._connected:
            self._connected = True
            effects.append(SetState(state=SessionState.ACTIVE, at_ms=now_ms))
        if talking:
            effects.extend(self._call.configured(now_ms))
        if parts.own is None and again:
            # Behind an output of ours, what was missed would not be the last any more: first of all find it.
            self.hold_until_ms = now_ms + FIND_OUT_MS
            return [*effects, *self.find_out()]
        self._actions.greet()
        if parts.own is not None:
            effects.extend(parts.own.seed())
        return [*effects, *self.go_on(now_ms)]

    def reconfigured(self, session: Event, now_ms: int) -> list[Effect]:
        """The session changed and not by us. The caller's client can do that: it is put back, then ended."""
        cast = self._parts.cast
        if cast.confirms(session):
            self._guard.confirm(session)
            return []
        if not self._guard.overridden(session):
            return []
        told = "Somebody else on the call replaced the agent's instructions or tools."
        effects: list[Effect] = [provider_error("session_overridden", told, now_ms)]
        if self._guard.exhausted:
            return [*effects, *self._actions.finish(EndReason.CLIENT_INTERFERED, now_ms)]
        return [*effects, self._call.configuration(Send(event=cast.configuration))]

    def item_added(self, item: Event, previous_item_id: str) -> list[Send]:
        """Take an item of the conversation: it may tell what is before it."""
        probe = self._probe
        asked = probe.added(item, previous_item_id) if probe.pending else []
        if probe.nothing_said:
            self._actions.greet()
        return asked

    def retrieved(self, item: Event, now_ms: int) -> list[Effect]:
        """Take what was said or asked last while nobody listened, if that was asked for."""
        if not self._probe.found(item):
            return []
        parts = self._parts
        if self._call.settled and not self._call.announced_last(text(item, "id")):
            self._greeted = True
        self._actions.greet()
        turn = parts.turns.missed(item, parts.cast.role.agent, now_ms)
        if isinstance(turn, AgentTurn):
            self._call.spoken_unheard()
        missed: list[Effect] = [Record(entry=turn)] if turn else []
        return [*missed, *parts.tools.found_last(item, now_ms)]

    def not_retrieved(self, event_id: str) -> bool:
        """The service refused a client event; return whether that asked for what was said last."""
        if event_id != RETRIEVAL:
            return False
        self._probe.refused()
        return True

    def find_out(self) -> list[Effect]:
        """Ask what was said last."""
        return [replace(send, after_commit=True) for send in self._probe.start()]

    def go_on(self, now_ms: int) -> list[Effect]:
        """Send what waited for the connection, and until it was known what was missed without it."""
        parts = self._parts
        self.hold_until_ms = None
        parts.responses.open()
        if not parts.ending.reason:
            self._call.begin(now_ms)
        lost = [*parts.tools.resend(), *parts.keypad.resend()] if parts.own is None else []
        return [*lost, *parts.tools.take_up(now_ms), *parts.notices.send()]

    def greet(self) -> bool:
        """Say the greeting unless it was said, or something comes before it; return whether it is said."""
        if self._greeted or not self._call.settled:
            return False
        self._greeted = True
        if self._setup.greeting:
            self._parts.responses.want_utterance(Utterance(key="greeting", text=self._setup.greeting))
        return bool(self._setup.greeting)

    def _configuration(self) -> Send:
        return self._call.configuration(self._parts.cast.opened())
