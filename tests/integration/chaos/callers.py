"""Callers who go through a script of turns, whatever happens to the processes that serve them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import count

from shared.session.log import AgentTurn
from tests.integration.chaos.fleet import Call, Fleet
from tests.integration.chaos.story import called

ANSWERED_WITHIN_S = 60.0
# Longer than any outage here: who hears nothing for so long says something.
ASKS_AGAIN_AFTER_S = 25.0
# What people do between an answer and their next request. Without it a hundred calls fill two processors,
# and the test shows what a busy machine does.
THINKS_FOR_S = 3.0
# The log tells of most answers; what was said while nobody listened, only the caller has heard.
_LISTEN_EVERY_S = 2.0
_ANSWERS = {
    "look up": ("{order} is found",),
    "charge": ("{order} is charged", "{order} is uncertain"),
    "ship": ("shipping {order}",),
    "refund": ("refunding {order}",),
}
_DURABLE = frozenset({"ship", "refund"})
TOOL_OF = {"look up": "look_up", "charge": "charge", "ship": "ship", "refund": "refund"}


@dataclass(kw_only=True)
class Caller:
    """One caller. `orders`: what they asked for, by the order's number. Numbers are never used twice.

    waits_s: how long each answer took.
    silences: what was not answered before the caller said something again, with the story until then.
    missed: function calls that no worker had heard of when the caller asked again.
    """

    fleet: Fleet
    call: Call
    number: int
    requests: tuple[str, ...] = ("look up", "charge", "ship")
    orders: dict[str, str] = field(default_factory=dict[str, str])
    waits_s: list[float] = field(default_factory=list[float])
    silences: list[str] = field(default_factory=list[str])
    missed: set[str] = field(default_factory=set[str])
    _asked_at: float = 0.0

    @property
    def unlogged(self) -> list[str]:
        """Orders whose answer was heard and is not in the log."""
        return [order for order, request in self.orders.items() if not self._in_log(_answers(request, order))]

    @property
    def turns(self) -> int:
        return len(self.waits_s)

    async def talk(self, over: asyncio.Event, *, at_least: int) -> None:
        """Make requests, one after the other, until it is `over` and `at_least` so many were answered."""
        for turn in count():
            if over.is_set() and turn >= at_least:
                return
            await self.ask(self.requests[(turn + self.number) % len(self.requests)])
            await asyncio.sleep(THINKS_FOR_S)

    async def ask(self, request: str) -> None:
        """Make one request and wait for the answer to it."""
        await self.hear(await self.say(request))

    async def say(self, request: str) -> str:
        """Make one request; return the order's number."""
        order = str(100_000 + self.number * 100 + len(self.orders))
        self.orders[order] = request
        self._asked_at = time.monotonic()
        await self.fleet.say(self.call, f"{request} {order}")
        return order

    async def hear(self, order: str) -> None:
        """Wait for the answer about the latest order."""
        request = self.orders[order]
        await self._hear(order, f"the answer to {request} {order}")
        if request in _DURABLE:
            # Of what was said while nobody listened, the service tells only the last. A call that the caller
            # has talked past is not found; so these callers wait until a worker knows of it.
            await self.fleet.logs.wait(
                lambda: (TOOL_OF[request], order) in called(self.fleet.logs.entries[self.call.session_id]),
                within=ANSWERED_WITHIN_S,
                what=f"a worker heard of {request} {order} in {self.call}",
            )
        self.waits_s.append(time.monotonic() - self._asked_at)

    async def _second_try(self, order: str) -> str:
        """Return what to say into the silence: a model that has the result will tell it, else ask anew."""
        items = await self.fleet.items(self.call)
        answered = {item["call_id"] for item in items if item["type"] == "function_call_output"}
        asked = {
            item["call_id"]
            for item in items
            if item["type"] == "function_call" and order in str(item["arguments"])
        }
        self.missed |= asked - answered
        return "hello" if asked & answered else f"{self.orders[order]} {order}"

    async def _hear(self, order: str, what: str) -> None:
        answers = _answers(self.orders[order], order)
        began = time.monotonic()
        patient = True
        while True:
            try:
                await self.fleet.logs.wait(lambda: self._in_log(answers), within=_LISTEN_EVERY_S, what=what)
            except AssertionError:
                if await self._said(answers):
                    return
                waited = time.monotonic() - began
                if waited > ANSWERED_WITHIN_S:
                    raise AssertionError(f"{self.call} never heard {what}\n{await self.story()}") from None
                if patient and waited > ASKS_AGAIN_AFTER_S:
                    patient = False
                    self.silences.append(f"{what}\n{await self.story()}")
                    await self.fleet.say(self.call, await self._second_try(order))
            else:
                return

    def _in_log(self, answers: list[str]) -> bool:
        entries = self.fleet.logs.entries[self.call.session_id]
        return any(
            answer in one.entry.text
            for one in reversed(entries)
            if isinstance(one.entry, AgentTurn)
            for answer in answers
        )

    async def _said(self, answers: list[str]) -> bool:
        return any(answer in _text(item) for item in await self.fleet.items(self.call) for answer in answers)

    async def story(self) -> str:
        """Return the end of the log and of the conversation, for a person."""
        log = [
            f"  {one.entry_id} {one.epoch} {one.entry}"
            for one in self.fleet.logs.entries[self.call.session_id]
        ]
        items = [f"  {item}" for item in await self.fleet.items(self.call)]
        record = await self.fleet.sessions.get(self.call.session_id)
        told = f"{self.call}: {record.state.value}, owner {record.owner}, epoch {record.epoch}"
        return "\n".join([told, *log[-25:], "conversation:", *items[-12:]])


def _answers(request: str, order: str) -> list[str]:
    return [text.format(order=order) for text in _ANSWERS[request]]


def _text(item: dict[str, object]) -> str:
    if item.get("role") != "assistant":
        return ""
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("transcript") or part.get("text") or "") for part in parts)
