"""Keys that the caller presses: collected, and given to the model as something that was typed.

Sources: `input_audio_buffer.dtmf_event_received`, `conversation.item.create`, `response.cancel` and
`output_audio_buffer.clear` of the GA Realtime API.
"""

from __future__ import annotations

from collections.abc import Mapping

from realtime_worker.conversation.effects import Effect, Record, Send
from realtime_worker.conversation.responses import ResponseSequencer
from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.conversation.turns import TurnTracker
from realtime_worker.conversation.wire import part
from shared.session.log import TurnStatus

# Keys belong together while they follow one another within this; a # ends them at once.
PAUSE_MS = 2_000
LONGEST = 32
KEYS = frozenset("0123456789*#ABCD")

_PREFIX = "keys_"


class Keypad:
    """The keys of one conversation."""

    def __init__(self, setup: ConversationSetup, responses: ResponseSequencer, turns: TurnTracker) -> None:
        """setup: its configuration says whether the agent may be interrupted."""
        self._prefix = f"{_PREFIX}{setup.epoch}_"
        audio_input = part(part(part(setup.role.configuration, "session"), "audio"), "input")
        self._interrupts = part(audio_input, "turn_detection").get("interrupt_response", True) is True
        self._service_plays = not setup.own_session
        self._responses = responses
        self._turns = turns
        self._keys = ""
        self._began_ms = 0
        self._due_ms: int | None = None
        self._count = 0
        self._sent: dict[str, Mapping[str, object]] = {}  # item id -> what creates it, until it is there

    @property
    def interrupts(self) -> bool:
        """Whether the agent lets the caller interrupt it."""
        return self._interrupts

    @property
    def collecting(self) -> bool:
        """Whether more keys may follow."""
        return self._due_ms is not None

    def pressed(self, key: str, now_ms: int, *, interrupts: bool = True) -> list[Effect]:
        """A key was pressed. It interrupts the agent as a word would, where `interrupts`."""
        if key not in KEYS:
            return []
        first, self._keys = not self._keys, self._keys + key
        if first:
            self._began_ms = now_ms
        ended = key == "#" or len(self._keys) >= LONGEST
        self._due_ms = now_ms if ended else now_ms + PAUSE_MS
        return self._interrupt() if first and self._interrupts and interrupts else []

    def next_deadline_ms(self) -> int | None:
        """Return when `typed` has something to say, or None."""
        return self._due_ms

    def typed(self, now_ms: int) -> list[Effect]:
        """Give the model what was typed, once it is complete. Call it only while it can be sent."""
        if self._due_ms is None or now_ms < self._due_ms:
            return []
        said, self._keys, self._due_ms = f"Keys pressed: {self._keys}", "", None
        self._count += 1
        item_id = f"{self._prefix}{self._count}"
        self._turns.caller_typed(item_id, self._began_ms)
        turn = self._turns.user_turn(item_id, said, TurnStatus.COMPLETED, now_ms)
        item = {
            "id": item_id,
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": said}],
        }
        create = {"type": "conversation.item.create", "event_id": item_id, "item": item}
        self._sent[item_id] = create
        self._responses.want_reply()
        send = Send(event=create, after_commit=True)
        return [Record(entry=turn), send] if turn else [send]

    def settled(self, item_id: str) -> bool:
        """The service has an item, or refused it; return whether it was one of these."""
        return self._sent.pop(item_id, None) is not None

    def resend(self) -> list[Send]:
        """Return what may have been lost with a connection to a call."""
        return [Send(event=create, after_commit=True) for create in self._sent.values()]

    def forget_sent(self) -> None:
        """The next provider session is told everything that is in the log."""
        self._sent.clear()

    def _interrupt(self) -> list[Effect]:
        effects: list[Effect] = []
        if active := self._responses.active_response:
            effects.append(Send(event={"type": "response.cancel", "response_id": active}))
        if self._service_plays and self._turns.playing:
            effects.append(Send(event={"type": "output_audio_buffer.clear"}))
        return effects
