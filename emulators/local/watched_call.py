"""A call in the terminal: its log while it grows, and its books when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager

from emulators.local.call_trace import waterfall_of
from emulators.local.console import ConversationConsole, summary_of, transcript
from emulators.local.errors import LocalStackError
from emulators.local.session_api import SessionApi
from shared.session.log import AgentTurn, LogEntry, TurnStatus

_ARCHIVE_TIMEOUT_S = 30.0
_TRACE_LINES = 24


class LiveLog:
    """A session's log, shown as it grows."""

    def __init__(self, api: SessionApi, session_id: str, console: ConversationConsole) -> None:
        self._entries: list[LogEntry] = []
        self._following = asyncio.create_task(self._follow(api, session_id, console))

    @property
    def answers(self) -> int:
        """How many times the agent has said all that it wanted; the caller hears it a little later."""
        turns = (entry for entry in self._entries if isinstance(entry, AgentTurn))
        return sum(turn.status is TurnStatus.COMPLETED for turn in turns)

    async def archived(self) -> list[LogEntry]:
        """Wait until nothing can follow, and return all of it.

        Raises LocalStackError when the session is not archived in time, or its log cannot be read.
        """
        try:
            async with asyncio.timeout(_ARCHIVE_TIMEOUT_S):
                await self._following
                return self._entries
        except TimeoutError:
            raise LocalStackError(
                f"The session was not archived within {_ARCHIVE_TIMEOUT_S:g} s of the hang-up; "
                "look into the logs of the worker and the Functions host."
            ) from None

    async def close(self) -> None:
        """Show no more; safe to call twice."""
        self._following.cancel()
        await asyncio.wait([self._following])

    async def _follow(self, api: SessionApi, session_id: str, console: ConversationConsole) -> None:
        async with aclosing(api.follow(session_id)) as log:
            async for entry in log:
                self._entries.append(entry)
                console.show(entry)


@asynccontextmanager
async def shown_live(
    api: SessionApi, session_id: str, console: ConversationConsole
) -> AsyncGenerator[LiveLog, None]:
    """Show the session's log from its beginning on, until the block ends."""
    log = LiveLog(api, session_id, console)
    try:
        yield log
    finally:
        await log.close()


def show_summary(entries: Sequence[LogEntry], console: ConversationConsole) -> None:
    """Show in a line how a call that is over went."""
    console.say(f"\nSummary: {summary_of(entries)}.", "bold")


def show_transcript(entries: Sequence[LogEntry], console: ConversationConsole) -> None:
    """Show turns and tools in the order in which they happened."""
    console.say("\nArchived transcript\n", "bold")
    console.show_lines(transcript(entries))


async def show_trace(traces_url: str, session_id: str, console: ConversationConsole, *, whole: bool) -> None:
    """Show the session's trace; `traces_url` is "" where there is none."""
    if not traces_url:
        return
    lines = (await waterfall_of(traces_url, session_id, width=console.width)).splitlines()
    shown = lines if whole else lines[:_TRACE_LINES]
    if shown:
        console.say("\nTrace\n", "bold")
        console.say("\n".join(shown))
    if len(shown) < len(lines):
        console.say(f"… {len(lines) - len(shown)} more spans: TRACE=1 shows all of them", "dim")
