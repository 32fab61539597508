"""What callers hear before anything else of an agent, and whether they agree to it: until then nothing else
happens.

While the announcement is said, the service neither answers the caller nor stops for them: it is heard to its
end, whatever they say. Where it is cut off all the same, as the caller's client can do, it is said again.
What has been heard, and the answer, are in the log: another owner goes on from there, and says nothing twice.
So does another agent of the call: who has heard the same words from one has heard them from all. An answer
counts for agents that only tell; having been told does not for one that asks.

Source: `turn_detection` (create_response, interrupt_response), `response.cancel` and
`output_audio_buffer.clear` of the GA Realtime API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import cast

import msgspec

from realtime_worker.conversation.effects import Effect, Record, Send
from realtime_worker.conversation.responses import ResponseSequencer, Utterance
from realtime_worker.conversation.speaking_time import longest_ms
from realtime_worker.conversation.wire import part
from shared.session.log import ConsentNoted, ConsentStep, LogEntry, ToolStatus
from shared.session.model import EndReason

# How often the announcement is cut off, or fails, before the call ends instead.
ATTEMPTS = 3

_KEY = "announcement"
_SILENCED = {"create_response": False, "interrupt_response": False}
_ACCEPTED = '{"consent":"given"}'


@dataclass(frozen=True, kw_only=True)
class ConsentTerms:
    """announcement: said first, word for word. ask: the caller has to agree. goodbye: if they do not.

    name: of the announcement, the same for the same words.
    """

    name: str
    announcement: str
    ask: bool = False
    goodbye: str = ""


_NO_TERMS = ConsentTerms(name="", announcement="")


class _Stage(Enum):
    ANNOUNCING = auto()
    ASKED = auto()
    SETTLED = auto()
    REFUSED = auto()


class ConsentGate:
    """The consent of one conversation; open where the agent that speaks has nothing to be said first."""

    def __init__(
        self, terms: ConsentTerms | None, logged: Iterable[LogEntry], responses: ResponseSequencer
    ) -> None:
        self._responses = responses
        self._noted = [entry for entry in logged if isinstance(entry, ConsentNoted)]
        self.enter(terms)

    def enter(self, terms: ConsentTerms | None) -> None:
        """These are the terms of the agent that speaks from now on; `begin` has them announced."""
        self._terms = terms or _NO_TERMS
        self._words = self._terms.announcement
        self._stage = self._reached() if terms else _Stage.SETTLED
        self._cut_off = 0
        self._hopeless: EndReason | None = None
        self._response = ""
        self._heard_by_ms: int | None = None

    def say_before(self, words: str) -> None:
        """Have this said together with the announcement, in front of it."""
        self._words = f"{words} {self._words}".strip()

    def _reached(self) -> _Stage:
        terms = self._terms
        steps = {one.step for one in self._noted if one.terms == terms.name and (one.ask or not terms.ask)}
        if ConsentStep.REFUSED in steps:
            return _Stage.REFUSED
        if ConsentStep.GIVEN in steps or (ConsentStep.ANNOUNCED in steps and not terms.ask):
            return _Stage.SETTLED
        return _Stage.ASKED if ConsentStep.ANNOUNCED in steps else _Stage.ANNOUNCING

    @property
    def announcing(self) -> bool:
        """Whether the caller has yet to hear the announcement to its end."""
        return self._stage is _Stage.ANNOUNCING

    @property
    def settled(self) -> bool:
        """Whether the conversation may go on, with all tools and the greeting."""
        return self._stage is _Stage.SETTLED

    @property
    def refused(self) -> bool:
        """Whether the caller has not agreed."""
        return self._stage is _Stage.REFUSED

    @property
    def goodbye(self) -> str:
        return self._terms.goodbye

    @property
    def hopeless(self) -> EndReason | None:
        """Why the announcement is not begun again, once it was cut off or failed too often."""
        return self._hopeless

    def next_deadline_ms(self) -> int | None:
        """Return when the announcement counts as heard though nothing tells so, or None."""
        return self._heard_by_ms

    def configuration(self, send: Send) -> Send:
        """Return a configuration for the session, such that it lets the announcement be heard."""
        return replace_turn_detection(send, _SILENCED) if self.announcing else send

    def lift(self, configuration: Mapping[str, object]) -> list[Send]:
        """Return what lets the service listen as the agent wants it."""
        session = part(configuration, "session")
        audio_input = part(part(session, "audio"), "input")
        if "turn_detection" not in audio_input:
            return []
        event = {
            "type": "session.update",
            "event_id": configuration.get("event_id", ""),
            "session": {
                "type": session.get("type", "realtime"),
                "audio": {"input": {"turn_detection": audio_input["turn_detection"]}},
            },
        }
        return [Send(event=event, after_commit=True)]

    def begin(self) -> None:
        """Have the announcement said if it is to be and is not under way; nothing else is said before."""
        if not self.announcing:
            return
        if self._terms.ask:
            self._responses.reply_later()  # after the question it is the caller's turn
        if self._heard_by_ms is not None or self._responses.insists:
            return
        self._response = ""
        self._responses.insist(Utterance(key=_KEY, text=self._words))

    def response_began(self, utterance: Utterance | None, response_id: str) -> list[Send]:
        """A response began; return what stops it if it is not the announcement that is to come first."""
        if not self._saying:
            return []
        if utterance is not None and utterance.key == _KEY:
            self._response = response_id
            return []
        stop = Send(event={"type": "response.cancel", "response_id": response_id})
        if self._response:
            return [stop]
        return [stop, Send(event={"type": "output_audio_buffer.clear"})]

    def response_over(self, response_id: str, status: str, *, given_up: bool, now_ms: int) -> None:
        """A response is complete; `given_up`: it failed, and is not tried again."""
        if not self._saying or response_id != self._response:
            return
        if status == "completed":
            self._heard_by_ms = now_ms + longest_ms(self._words)
        elif status != "failed" or given_up:
            interfered = status == "cancelled"
            self._again(EndReason.CLIENT_INTERFERED if interfered else EndReason.PROVIDER_FAILED)

    def audio_over(self, response_id: str, now_ms: int, *, cleared: bool) -> list[Effect]:
        """The audio of a response was heard out or cut off; return the record of what that means."""
        if not self._saying or not response_id or response_id != self._response:
            return []
        if cleared:
            self._again(EndReason.CLIENT_INTERFERED)
            return []
        return self._heard(now_ms)

    def tick(self, now_ms: int) -> list[Effect]:
        """Time has passed."""
        due = self._heard_by_ms is not None and now_ms >= self._heard_by_ms
        return self._heard(now_ms) if due and self._saying else []

    def lost(self) -> None:
        """The connection is gone. What the service had begun to say may have been cut off with it."""
        if self._heard_by_ms is None:
            self._responses.relent()

    def answered(self, arguments: str, now_ms: int) -> tuple[ToolStatus, str, list[Effect]]:
        """Take the model's word for the caller's answer; return the call's outcome and the records."""
        try:
            given = msgspec.json.decode(arguments, type=dict[str, object]).get("given")
        except msgspec.DecodeError:
            given = None
        if not isinstance(given, bool):
            wrong = _error("invalid_arguments", "Tell whether consent is given: true or false.")
            return ToolStatus.INVALID, wrong, []
        if self.settled:
            return ToolStatus.OK, _ACCEPTED, []
        if self._stage is not _Stage.ASKED:
            early = _error("not_asked", "The caller has not heard the announcement to its end.")
            return ToolStatus.ERROR, early, []
        noted = self._note(ConsentStep.GIVEN if given else ConsentStep.REFUSED, now_ms)
        return ToolStatus.OK, (_ACCEPTED if given else '{"consent":"refused"}'), [noted]

    @property
    def _saying(self) -> bool:
        """Whether the announcement comes before all else now; not where the call is ending."""
        return self.announcing and self._responses.insists

    def _heard(self, now_ms: int) -> list[Effect]:
        self._heard_by_ms = None
        noted = self._note(ConsentStep.ANNOUNCED, now_ms)
        self._responses.relent()
        return [noted]

    def _note(self, step: ConsentStep, now_ms: int) -> Record:
        entry = ConsentNoted(step=step, terms=self._terms.name, ask=self._terms.ask, at_ms=now_ms)
        self._noted.append(entry)
        self._stage = self._reached()
        return Record(entry=entry)

    def _again(self, or_end: EndReason) -> None:
        self._heard_by_ms = None
        self._responses.relent()
        self._cut_off += 1
        if self._cut_off < ATTEMPTS:
            self.begin()
        else:
            self._hopeless = or_end


def replace_turn_detection(send: Send, fields: Mapping[str, object]) -> Send:
    """Return a `session.update` with these fields in its turn detection, if it has one."""
    session = part(send.event, "session")
    audio = part(session, "audio")
    audio_input = part(audio, "input")
    if not part(audio_input, "turn_detection"):
        return send
    detection = {**part(audio_input, "turn_detection"), **fields}
    silenced = {**session, "audio": {**audio, "input": {**audio_input, "turn_detection": detection}}}
    return replace(send, event={**cast("dict[str, object]", send.event), "session": silenced})


def _error(code: str, message: str) -> str:
    return msgspec.json.encode({"error": {"code": code, "message": message}}).decode()
