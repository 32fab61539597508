"""Ring a telephone, and learn what comes of it."""

from __future__ import annotations

import asyncio
from typing import Literal

from emulators.communication.calls import Call, Ringing
from emulators.communication.identifiers import Identifier
from emulators.communication.phones import Behaviour, Outcome, PhoneBook

Reached = Literal["answer", "machine"]


class Telephones:
    """Rings telephones as the phone book, a fault or somebody at /_emu wants. Times are call time."""

    def __init__(self, book: PhoneBook, *, ring_seconds: float, speed: float) -> None:
        self.book = book
        self._ring_seconds = ring_seconds
        self._speed = speed

    async def ring(
        self,
        call: Call,
        who: Identifier,
        purpose: Literal["call", "participant", "transfer"],
        *,
        invitation_id: str = "",
        timeout_s: float | None = None,
    ) -> Outcome:
        """Ring until the telephone is answered or not; never returns "ring"."""
        behaviour = self.book.behaviour(who)
        if (fault := call.faults.take("callee")) is not None:
            behaviour = Behaviour(outcome=fault.outcome, ring_ms=fault.ms)
        loop = asyncio.get_running_loop()
        ringing = Ringing(
            who=who,
            behaviour=behaviour,
            purpose=purpose,
            invitation_id=invitation_id,
            decision=loop.create_future(),
        )
        call.ringing[who.raw_id] = ringing
        call.log.record("ringing", who=who.name, purpose=purpose)
        longest = timeout_s if timeout_s is not None else self._ring_seconds
        waits = behaviour.outcome == "ring" or (behaviour.outcome == "no_answer" and not behaviour.ring_ms)
        seconds = longest if waits else min(behaviour.ring_ms / 1000, longest)
        try:
            async with asyncio.timeout(seconds / self._speed):
                outcome = await ringing.decision
        except TimeoutError:
            outcome = "no_answer" if waits else behaviour.outcome
        finally:
            if call.ringing.get(who.raw_id) is ringing:
                del call.ringing[who.raw_id]
        call.log.record("rang", who=who.name, outcome=outcome)
        return outcome
