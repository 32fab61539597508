"""A conversation under test, and short words for what a provider says to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from realtime_worker.conversation.consent import ConsentTerms
from realtime_worker.conversation.core import Conversation
from realtime_worker.conversation.effects import Effect, Record, Send
from realtime_worker.conversation.limits import Limits
from realtime_worker.conversation.role import Role, ToolManners
from realtime_worker.conversation.setup import ConversationSetup
from shared.session.log import LogEntry, ToolCalled, ToolExecution
from shared.session.prices import TokenPrices

EffectT = TypeVar("EffectT")
EntryT = TypeVar("EntryT")

NO_LIMITS = Limits()
CONFIGURATION = {
    "type": "session.update",
    "event_id": "cfg_1",
    "session": {
        "type": "realtime",
        "instructions": "Be kind.",
        "tools": [],
        "audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": True}}},
    },
}


def conversation(
    *,
    greeting: str = "",
    farewell: str = "",
    limits: Limits = NO_LIMITS,
    unanswered: Iterable[ToolCalled] = (),
    answered: Mapping[str, str] = {},
    resumed: bool = False,
    own_session: bool = False,
    history: Iterable[LogEntry] = (),
    prices: TokenPrices | None = None,
    manners: Mapping[str, ToolManners] = {},
    consent: ConsentTerms | None = None,
    records: bool = False,
) -> Conversation:
    return Conversation(
        ConversationSetup(
            session_id="ses_x",
            role=Role(
                agent="desk",
                configuration=CONFIGURATION,
                farewell=farewell,
                executions={
                    "look_up": ToolExecution.INLINE,
                    "pay": ToolExecution.INLINE,
                    "book": ToolExecution.DURABLE,
                    "end_call": ToolExecution.CONVERSATION,
                    "record_consent": ToolExecution.CONVERSATION,
                },
                repeatable=frozenset({"look_up"}),
                manners=manners,
                consent=consent,
                records=records,
            ),
            worker="w1",
            epoch=1,
            call_id="" if own_session else "rtc_1",
            greeting=greeting,
            limits=limits,
            unanswered=tuple(unanswered),
            answered=answered,
            resumed=resumed,
            own_session=own_session,
            history=tuple(history),
            prices=prices,
        )
    )


class Scene:
    """Drives a conversation, keeps everything it wanted, and moves the clock."""

    def __init__(
        self,
        subject: Conversation,
        *,
        talking: bool = True,
        watch: Callable[[list[Effect]], None] = lambda _: None,
    ) -> None:
        self.watch = watch
        self.subject = subject
        self.now = 1_000_000
        self.effects: list[Effect] = []
        if talking:
            self.take(subject.opened(self.now))
            self.say("session.updated")

    def take(self, effects: list[Effect]) -> list[Effect]:
        self.effects.extend(effects)
        self.watch(effects)
        return effects

    def say(self, kind: str, **fields: object) -> list[Effect]:
        """The provider sends an event."""
        return self.take(self.subject.provider_event({"type": kind, **fields}, self.now))

    def wait(self, milliseconds: int) -> list[Effect]:
        self.now += milliseconds
        return self.take(self.subject.tick(self.now))

    def respond(self, response_id: str, *items: Mapping[str, object], status: str = "completed") -> None:
        """A whole response of the service's own."""
        self.say("response.created", response={"id": response_id})
        for item in items:
            self.say("response.output_item.done", response_id=response_id, item=item)
        self.say("response.done", response={"id": response_id, "status": status, "output": list(items)})

    def found_last(self, last: Mapping[str, object] = {}) -> None:
        """The service tells what was said last, after an attach: `last`, or nothing that needs an answer."""
        item = last or {"id": "a0", "type": "message", "role": "assistant", "content": []}
        notes = [e["item"] for e in self.sent("conversation.item.create") if e["item"]["type"] == "message"]  # type: ignore[index]
        self.say("conversation.item.added", item=notes[-1], previous_item_id=item["id"])
        assert self.sent("conversation.item.delete")[-1]["item_id"] == notes[-1]["id"]  # type: ignore[index]
        assert self.sent("conversation.item.retrieve")[-1]["item_id"] == item["id"]
        self.say("conversation.item.retrieved", item=item)

    def accept_request(self, response_id: str) -> None:
        """The service starts the response that we asked for last."""
        request = self.sent("response.create")[-1]
        self.say(
            "response.created", response={"id": response_id, "metadata": request["response"]["metadata"]}
        )  # type: ignore[index]

    def sent(self, kind: str) -> list[Mapping[str, object]]:
        """Client events of this type, oldest first."""
        return [e.event for e in self.effects if isinstance(e, Send) and e.event["type"] == kind]

    def outputs(self) -> list[object]:
        """The call ids of the function call outputs sent."""
        items = [event["item"] for event in self.sent("conversation.item.create")]
        return [item["call_id"] for item in items if item["type"] == "function_call_output"]  # type: ignore[index]

    def logged(self, kind: type[EntryT]) -> list[EntryT]:
        return [e.entry for e in self.effects if isinstance(e, Record) and isinstance(e.entry, kind)]

    def wanted(self, kind: type[EffectT]) -> list[EffectT]:
        return [e for e in self.effects if isinstance(e, kind)]

    def entries(self) -> list[LogEntry]:
        return [e.entry for e in self.effects if isinstance(e, Record)]


def call_item(
    call_id: str, name: str = "look_up", arguments: str = "{}", status: str = "completed"
) -> dict[str, object]:
    return {
        "id": f"item_{call_id}",
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": status,
    }


def message_item(item_id: str, transcript: str) -> dict[str, object]:
    return {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_audio", "transcript": transcript}],
    }
