"""What happens at the carrier, as lines of the terminal: what the session's log cannot know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from emulators.local.console import ConversationConsole, Line

if TYPE_CHECKING:
    from emulators.caller.telephone import Telephone

_LOOK_EVERY_S = 0.1


class CarrierEvents:
    """Turns the events of one call at the Communication Services emulator into lines."""

    def __init__(self, began_at_ms: int) -> None:
        """began_at_ms: when the call began, in Unix milliseconds."""
        self._began_at_ms = began_at_ms
        self._spoke_at_ms = 0.0

    def line(self, event: Mapping[str, object]) -> Line | None:
        """Return what a person shall see of an event; None for bookkeeping."""
        at_ms = float(str(event.get("at_ms", 0)))
        match event.get("what"):
            case "incoming":
                return self._line(at_ms, f"{event['caller']} calls {event['called']}")
            case "say":
                self._spoke_at_ms = at_ms
                return None
            case "stop_audio" if event["dropped_ms"]:
                dropped_s = float(str(event["dropped_ms"])) / 1000
                after = f"{at_ms - self._spoke_at_ms:.0f} ms after the caller began to speak"
                return self._line(at_ms, f"StopAudio: {dropped_s:.1f} s of speech dropped", after)
            case "ringing":
                return self._line(at_ms, f"{event['who']} rings")
            case "transferred":
                return self._line(at_ms, f"the caller is through to {event['target']}")
            case "hung_up":
                return self._line(at_ms, f"{event['who']} hangs up")
            case _:
                return None

    def _line(self, at_ms: float, text: str, remark: str = "") -> Line:
        at = round(self._began_at_ms + at_ms)
        return Line(at_ms=at, who="phone", text=text, remark=remark, style="magenta")


@asynccontextmanager
async def carrier_events_shown(
    telephone: Telephone, console: ConversationConsole
) -> AsyncGenerator[None, None]:
    """Show what happens at the carrier, from the call that has just begun until the block ends."""
    showing = asyncio.create_task(_show(telephone, console, CarrierEvents(round(time.time() * 1000))))
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.wait([showing])


async def _show(telephone: Telephone, console: ConversationConsole, events: CarrierEvents) -> None:
    from emulators.caller.telephone import TelephoneError

    seen = 0
    with suppress(TelephoneError):  # whoever uses the telephone is told
        while True:
            for event in await telephone.events(after=seen):
                seen = int(str(event["n"]))
                if line := events.line(event):
                    console.show_lines([line])
            await asyncio.sleep(_LOOK_EVERY_S)
