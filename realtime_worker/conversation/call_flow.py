"""What a call begins and ends with, and each agent in it, beyond their own words: announcements, consent,
recording, the end.

The tools that the conversation does itself are done here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from realtime_worker.conversation.agent_end import AgentEnd
from realtime_worker.conversation.cast import Cast
from realtime_worker.conversation.consent import ConsentGate
from realtime_worker.conversation.effects import Effect, Send
from realtime_worker.conversation.handoff_words import HandoffWords
from realtime_worker.conversation.handoffs import Refusal
from realtime_worker.conversation.inbox_progress import InboxProgress
from realtime_worker.conversation.recording_wish import RecordingWish
from realtime_worker.conversation.records import provider_error
from realtime_worker.conversation.responses import ResponseSequencer, Utterance
from realtime_worker.conversation.said_words import SaidWords
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.conversation.tool_flow import ToolFlow
from shared.session.log import (
    AgentTurn,
    ConsentNoted,
    ToolCalled,
    UserTurn,
)
from shared.session.model import EndReason

# The tools that the conversation does itself.
END_CALL = "end_call"
RECORD_CONSENT = "record_consent"

_ASK_FIRST = (
    "The caller has not agreed yet to what they have to be told first. Ask them, and tell their answer by "
    f"{RECORD_CONSENT}; nothing else works before."
)


@dataclass(frozen=True, kw_only=True)
class CallActions:
    """What a conversation can be told to do.

    greet: says the greeting, unless there is none or it was said; returns whether it does.
    leave: says last words, if there are any, and ends with a reason. finish: ends with it at once.
    """

    greet: Callable[[], bool]
    leave: Callable[[str, str, int], list[Effect]]
    finish: Callable[[str, int], list[Effect]]


class CallFlow:
    """The begin and the end of one conversation's call."""

    def __init__(
        self,
        setup: ConversationSetup,
        cast: Cast,
        tools: ToolFlow,
        responses: ResponseSequencer,
        inbox: InboxProgress,
        actions: CallActions,
    ) -> None:
        self._cast = cast
        self._tools = tools
        self._responses = responses
        self._actions = actions
        self._consent = ConsentGate(cast.role.consent, setup.history, responses)
        self._words = HandoffWords(setup.history, responses)
        self._handed_over = _handed_over(setup)
        self._end = AgentEnd(
            tools,
            setup.history,
            leave=lambda reason, now_ms: actions.leave(reason, cast.role.farewell, now_ms),
            finish=actions.finish,
        )
        self._said = SaidWords(inbox)
        self._announced_last = "" if conversation_began(setup) else _last_said(setup)
        self._recording = RecordingWish(setup.history)
        if self._consent.announcing:
            self._consent.say_before(self._words.take())
        tools.give(act=self._act, hold=self._hold, entered=self._entered)

    @property
    def settled(self) -> bool:
        """Whether the conversation may begin, or has: what callers must hear first is heard and agreed to."""
        return self._consent.settled

    @property
    def announcing(self) -> bool:
        """Whether something is being said that the caller can't interrupt."""
        return self._consent.announcing

    @property
    def busy(self) -> bool:
        """Whether the agent says something that another owner could not go on with."""
        return self._consent.announcing or self._end.waiting

    def announced_last(self, item_id: str) -> bool:
        """Return whether an item of the service's is the announcement, as an earlier owner has logged it."""
        return bool(item_id) and item_id == self._announced_last

    def next_deadline_ms(self) -> int | None:
        """Return when `tick` wants to be called next, or None."""
        heard, ended = self._consent.next_deadline_ms(), self._end.next_deadline_ms()
        return heard if ended is None or (heard is not None and heard < ended) else ended

    def configuration(self, send: Send) -> Send:
        """Return a configuration of the session as it has to be now."""
        return self._consent.configuration(send)

    def configured(self, now_ms: int) -> list[Effect]:
        """The session follows the agent: what comes first is to be said before all else, if it is to be."""
        if self._consent.refused:  # an earlier owner did not get to say goodbye
            return self._actions.leave(EndReason.CONSENT_REFUSED, self._consent.goodbye, now_ms)
        self._consent.begin()
        return self._follow_recording(now_ms)

    def change(self) -> list[Send]:
        """Return what makes a configured session follow the agent that took over, as it has to be now."""
        return [self._consent.configuration(send) for send in self._cast.change()]

    def begin(self, now_ms: int) -> None:
        """Have said what comes before the words of the agent that speaks, as far as nobody has said it."""
        self._consent.begin()
        self._words.say(now_ms, free=self._consent.settled)

    def spoken_unheard(self) -> None:
        """The agent that speaks has said something while nobody listened."""
        self._words.said()

    def lost(self, *, session: bool) -> None:
        """The connection is gone; `session`: and with it all that the provider knew."""
        self._consent.lost()
        if session:
            self._said.lost()

    def response_began(self, utterance: Utterance | None, response_id: str) -> list[Send]:
        """A response began."""
        self._said.response_began(utterance, response_id)
        return self._consent.response_began(utterance, response_id)

    def response_over(
        self, response_id: str, status: str, said: str, *, given_up: bool, now_ms: int
    ) -> list[Effect]:
        """A response is complete. said: its words; given_up: it failed, and is not tried again."""
        self._consent.response_over(response_id, status, given_up=given_up, now_ms=now_ms)
        return [*self._hopeless(now_ms), *self._end.response_over(response_id, status, said, now_ms)]

    def audio_over(self, response_id: str, now_ms: int, *, cleared: bool) -> list[Effect]:
        """The audio of a response was heard out or cut off."""
        heard = self._said.audio_over(response_id, now_ms, cleared=cleared)
        announced = self._consent.audio_over(response_id, now_ms, cleared=cleared)
        ended = self._end.audio_over(response_id, now_ms, cleared=cleared)
        return [*heard, *self._announced(announced, now_ms), *self._hopeless(now_ms), *ended]

    def tick(self, now_ms: int) -> list[Effect]:
        """Time has passed."""
        return [*self._announced(self._consent.tick(now_ms), now_ms), *self._end.tick(now_ms)]

    def _hold(self, call: ToolCalled) -> Refusal | None:
        """Return why no tool but the one that takes the answer may run now, or None where all may.

        What a former agent has called is under that one's consent.
        """
        formers = call.agent not in ("", self._cast.role.agent)
        if self._consent.settled or call.name == RECORD_CONSENT or formers:
            return None
        return Refusal(code="consent_missing", message=_ASK_FIRST)

    def _entered(self, announce: str, now_ms: int) -> list[Effect]:
        """Another agent has taken over; `begin` has it announced."""
        self._handed_over = True
        self._consent.enter(self._cast.role.consent)
        self._words.entered(announce)
        if self._consent.announcing:
            self._consent.say_before(self._words.take())
        return self._follow_recording(now_ms)

    def _act(self, call: ToolCalled, now_ms: int, *, begun: bool) -> list[Effect]:
        """Do a tool of the conversation's own; `begun`: an earlier owner has recorded the call."""
        if call.name == END_CALL:
            return self._end.taken_up(call, now_ms) if begun else self._end.called(call, now_ms)
        before = self._consent.settled
        status, output, noted = self._consent.answered(call.arguments, now_ms)
        effects = [*noted, *self._tools.finished(call.tool_call_id, status, output, 0.0, now_ms)]
        if self._consent.refused:
            goodbye = self._consent.goodbye
            return [*effects, *self._actions.leave(EndReason.CONSENT_REFUSED, goodbye, now_ms)]
        if before or not self._consent.settled:
            return effects
        if self._actions.greet():
            self._responses.reply_later()  # the greeting is the reply
        return [*effects, *self._follow_recording(now_ms)]

    def _announced(self, noted: list[Effect], now_ms: int) -> list[Effect]:
        """Go on after the announcement, if `noted` says that it was heard."""
        if not noted:
            return []
        self._actions.greet()
        if self._handed_over and self._consent.settled:
            self._responses.want_reply()  # the new agent begins; there is no greeting in the middle of a call
        return [*noted, *self._consent.lift(self._cast.configuration), *self._follow_recording(now_ms)]

    def _follow_recording(self, now_ms: int) -> list[Effect]:
        """Have the call recorded while the agent that speaks wants it and may, and else not."""
        role = self._cast.role
        return self._recording.follow(role.agent if role.records and self._consent.settled else "", now_ms)

    def _hopeless(self, now_ms: int) -> list[Effect]:
        reason = self._consent.hopeless
        if reason is None:
            return []
        told = "What the caller has to be told first could not be said to its end."
        return [provider_error("not_announced", told, now_ms), *self._actions.finish(reason, now_ms)]


def _last_said(setup: ConversationSetup) -> str:
    return next((one.item_id for one in reversed(setup.history) if isinstance(one, AgentTurn)), "")


def conversation_began(setup: ConversationSetup) -> bool:
    """Return whether earlier owners have logged that something was said, besides what comes first."""
    if _handed_over(setup):
        return True
    began = False
    for entry in setup.history:
        match entry:
            case AgentTurn():
                began = True
            case UserTurn():
                began = began or setup.role.consent is None
            case ConsentNoted():
                began = False
            case _:
                pass
    return began


def _handed_over(setup: ConversationSetup) -> bool:
    return setup.standing is not None and setup.standing.handoffs > 0
