"""One response at a time.

The service refuses a `response.create` while a response is active, and starts responses of its own
after the caller has spoken. The sequencer holds our requests back until there is room, notices when
one of the service's responses has already covered what we wanted, and asks again when refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from realtime_worker.conversation.effects import Send
from realtime_worker.conversation.wire import response_create

# How long the service may take to start its own response after the caller stopped speaking.
SERVICE_RESPONSE_GRACE_MS = 2_000
# How long a response that another connection asked for may take to begin.
REPLY_GRACE_MS = 700
# How long a response.create may stay without any reaction before it counts as lost.
REQUEST_LOST_MS = 10_000
# Waits before asking again for a response that failed, and thereby how often.
RETRY_DELAYS_MS = (500, 1_000, 2_000)
# Waits before asking again where a response that nobody saw begin is in the way; the last one repeats.
BUSY_DELAYS_MS = (250, 500, 1_000, 2_000)


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """Something to be said word for word. `key` names it to whoever asked for it."""

    key: str
    text: str


@dataclass(kw_only=True)
class _Request:
    event_id: str
    utterance: Utterance | None
    sent_at_ms: int
    presumed: bool = False


class ResponseSequencer:
    """Decides when a `response.create` may go out. Not before `open` was called."""

    def __init__(self, request_prefix: str) -> None:
        self._prefix = request_prefix
        self._counter = 0
        self._open = False
        self._active = ""
        self._active_utterance: Utterance | None = None
        self._request: _Request | None = None
        self._wants_reply = False
        self._held_reply = False  # one is wanted too, and waits for something more that it shall be about
        self._presumed = False  # the wanted reply may have begun where nobody saw it
        self._in_doubt = False
        self._utterances: list[Utterance] = []
        self._insisted: Utterance | None = None
        self._insisted_sent = False
        self._caller_speaks = False
        self._owes_answer = False  # the caller has finished and nothing has answered them yet
        self._service_responds_until_ms = 0
        self._retry_at_ms = 0
        self._failures = 0
        self._refusals = 0  # in a row, for a response that we do not know
        self._unconfirmed_outputs: set[str] = set()

    @property
    def active_response(self) -> str:
        """The id of the response under way, or ""."""
        return self._active

    @property
    def busy(self) -> bool:
        """Whether somebody speaks, or is about to."""
        insisted = self.insists and not self._insisted_sent
        return bool(self._active or self._request or self._utterances or insisted or self._caller_speaks)

    def quiet(self, now_ms: int) -> bool:
        """Return whether nobody speaks, is about to, or waits for an answer."""
        return not (self.busy or self._wants_reply or now_ms < self._service_responds_until_ms)

    def open(self) -> None:
        """Requests may go out from now on."""
        self._open = True

    def lose_connection(self) -> None:
        """Forget what was under way: whether it happened can't be known. Words of ours stay wanted, and so
        does a reply that waits behind a response: that one began without knowing what the reply is about.
        Whether another reply is still owed is for whoever attaches again to find out (`owe_reply`)."""
        self._open = False
        if self._request is not None and self._request.utterance is not None:
            self._say_again(self._request.utterance)
        self._request = None
        self._wants_reply = self._wants_reply and not self._presumed and bool(self._active)
        self._presumed = self._in_doubt = False
        self._active = ""
        self._active_utterance = None
        self._caller_speaks = False
        self._owes_answer = False
        self._service_responds_until_ms = 0
        self._heed_no_refusal()

    def lose_session(self) -> None:
        """As `lose_connection`, where the conversation is lost with it: what we were saying is said again."""
        cut_off = self._active_utterance
        self.lose_connection()
        if cut_off is not None:
            self._say_again(cut_off)

    def owe_reply(self, now_ms: int) -> None:
        """Something that no response seems to have answered: ask for one, unless one begins in a moment.

        It may have begun already, where nobody saw it. Then our request is refused, and when that one is
        done it has to be found out anew whether it was an answer: see `take_doubt`.
        """
        self._presumed = self._presumed or not self._wants_reply
        self._wants_reply = True
        self._service_responds_until_ms = now_ms + REPLY_GRACE_MS

    def want_reply(self) -> None:
        """The model shall speak about what the conversation now holds."""
        self._presumed = self._held_reply = False
        self._wants_reply = True

    def reply_later(self) -> None:
        """Something more is coming that the reply shall be about; whoever brings it wants the reply then."""
        self._held_reply = self._held_reply or self._wants_reply
        self._wants_reply = False

    def hold_reply(self) -> None:
        """The model shall speak about what the conversation now holds, when something more has come."""
        self._held_reply = True

    def want_held_reply(self) -> None:
        """What a reply was held for does not come soon: the model shall speak now, where it was to."""
        if self._held_reply:
            self.want_reply()

    def want_utterance(self, utterance: Utterance) -> None:
        """The agent shall say this, after what is already wanted."""
        self._utterances.append(utterance)

    @property
    def insists(self) -> bool:
        """Whether something has to be said before all else."""
        return self._insisted is not None

    def insist(self, utterance: Utterance) -> None:
        """The agent shall say this now, even while the caller speaks, and nothing else until `relent`."""
        self._insisted = utterance
        self._insisted_sent = False

    def relent(self) -> None:
        """What was insisted on is said, or is to be said no more: the rest may be."""
        if self._insisted is None:
            return
        self._insisted = None
        if not self._caller_speaks:
            self._answer_afterwards()  # the service was not to answer meanwhile

    def forget_utterance(self, key: str) -> None:
        """What was wanted under this key is not wanted any more, unless it has been asked for already."""
        if any(utterance.key == key for utterance in self._utterances):
            self._utterances = [one for one in self._utterances if one.key != key]

    def drop_wishes(self) -> None:
        """Nothing wanted so far matters any more."""
        self._utterances.clear()
        self._insisted = None
        self._wants_reply = self._held_reply = False

    def output_sent(self, tool_call_id: str) -> None:
        """A function call's output is on its way to the service."""
        self._unconfirmed_outputs.add(tool_call_id)

    def output_confirmed(self, tool_call_id: str) -> None:
        """The service has the output in the conversation."""
        self._unconfirmed_outputs.discard(tool_call_id)

    def unconfirmed_outputs(self) -> frozenset[str]:
        """Outputs that were sent and not yet seen in the conversation."""
        return frozenset(self._unconfirmed_outputs)

    def caller_started(self) -> None:
        """The caller speaks: the service will respond when they have finished."""
        self._caller_speaks = True
        self._owes_answer = False

    def caller_stopped(self, now_ms: int) -> None:
        """The caller has finished: give the service time to start its own response."""
        self._caller_speaks = False
        self._owes_answer = True
        self._service_responds_until_ms = now_ms + SERVICE_RESPONSE_GRACE_MS
        if self._active:
            # It began before the caller had finished, because our request and their first word crossed.
            # The service starts no second one beside it, and it knows nothing of what they said.
            self._service_responds_until_ms = now_ms + REPLY_GRACE_MS
            self._answer_afterwards()

    def created(self, response_id: str, request_id: str) -> Utterance | None:
        """A response began: ours when `request_id` is. Returns the utterance that it speaks, if any."""
        self._active = response_id
        self._service_responds_until_ms = 0
        self._heed_no_refusal()
        request = self._request
        if request is not None and request.event_id == request_id:
            self._request = None
            self._active_utterance = request.utterance
        else:
            self._active_utterance = None
        if self._active_utterance is not None:
            self._answer_afterwards()
            return self._active_utterance
        self._owes_answer = False
        # A response covers the tool outputs that were in the conversation when it began.
        if not self._unconfirmed_outputs:
            self._wants_reply = self._held_reply = False
        return None

    def done(self, response_id: str, *, failed: bool, now_ms: int) -> Utterance | None:
        """A response ended. Returns the utterance that it was, if any, unless that will be tried again."""
        if self._active not in {"", response_id}:
            return None
        self._active = ""
        self._heed_no_refusal()
        utterance, self._active_utterance = self._active_utterance, None
        if not failed:
            self._failures = 0
            return utterance
        if self._failures < len(RETRY_DELAYS_MS):
            self._retry_at_ms = now_ms + RETRY_DELAYS_MS[self._failures]
            self._failures += 1
            if utterance is None:
                self.want_reply()
            else:
                self._say_again(utterance)
            return None
        return utterance

    def refused(self, event_id: str, now_ms: int, *, busy: bool) -> bool:
        """The service refused a client event; `busy`: since a response is active. Returns whether it was our
        request for a response.

        Where we know of no response, its end may be told or not: it is asked again after a while, and each
        time later. To ask at once would be refused as fast as it can be asked.
        """
        request = self._request
        if request is None or request.event_id != event_id:
            return False
        self._request = None
        if busy and request.presumed:
            self._in_doubt = True
        elif busy:
            self._restore(request)
            if not self._active:
                self._retry_at_ms = now_ms + BUSY_DELAYS_MS[min(self._refusals, len(BUSY_DELAYS_MS) - 1)]
                self._refusals += 1
        return True

    def _heed_no_refusal(self) -> None:
        """What was in the way is over."""
        if self._refusals:
            self._refusals = self._retry_at_ms = 0

    def take_doubt(self) -> bool:
        """Return, once, whether a response that nobody saw begin has ended, and may have been the answer."""
        if self._active:
            return False
        doubt, self._in_doubt = self._in_doubt, False
        return doubt

    def pump(self, now_ms: int) -> list[Send]:
        """Return the request that may go out now, if there is one."""
        request = self._request
        if request is None and not self._wants_reply and not self._utterances and self._insisted is None:
            return []  # nearly always, and asked at every event
        if request is not None and now_ms - request.sent_at_ms >= REQUEST_LOST_MS:
            self._request = None
            self._restore(request)
        blocked = not self._open or self._request is not None or self._active or now_ms < self._not_before_ms
        if blocked or not self._may_ask():
            return []
        utterance = self._next_utterance()
        presumed = utterance is None and self._presumed
        if utterance is None:
            self._wants_reply = self._presumed = False
        self._counter += 1
        event_id = f"{self._prefix}{self._counter}"
        self._request = _Request(event_id=event_id, utterance=utterance, sent_at_ms=now_ms, presumed=presumed)
        instructions = f"Say exactly: {utterance.text}" if utterance else ""
        return [Send(event=response_create(event_id, instructions=instructions), after_commit=True)]

    def next_deadline_ms(self) -> int | None:
        """Return when `pump` may have something to do without an event, or None."""
        if self._request is not None:
            return self._request.sent_at_ms + REQUEST_LOST_MS
        waits_for_time_only = self._may_ask() and self._open and not self._active
        return self._not_before_ms if waits_for_time_only else None

    @property
    def _not_before_ms(self) -> int:
        """When a request may go out at the earliest."""
        if self.insists:
            return self._retry_at_ms
        return max(self._service_responds_until_ms, self._retry_at_ms)

    def _may_ask(self) -> bool:
        """Return whether there is something to ask for that the caller leaves room for."""
        if self.insists:
            return not self._insisted_sent
        return (bool(self._utterances) or self._wants_reply) and not self._caller_speaks

    def _next_utterance(self) -> Utterance | None:
        """Take what is to be said next, None for a reply of the model's own."""
        if self._insisted is not None:
            self._insisted_sent = True
            return self._insisted
        return self._utterances.pop(0) if self._utterances else None

    def _say_again(self, utterance: Utterance) -> None:
        """What was to be said was not, or not to its end."""
        if utterance is self._insisted:
            self._insisted_sent = False
        else:
            self._utterances.insert(0, utterance)

    def _answer_afterwards(self) -> None:
        """A response was in the way of the service's own answer to the caller: ask for it afterwards."""
        if self._owes_answer:
            self._owes_answer = False
            self.want_reply()

    def _restore(self, request: _Request) -> None:
        if request.utterance is None:
            self.want_reply()
        else:
            self._say_again(request.utterance)
