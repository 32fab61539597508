"""A call in the terminal: its log while it grows, and its books when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager

from emulators.local.call_trace import waterfall_of
from emulators.local.console import ConversationConsole, summary_of, transcript
from emulators.local.errors import LocalStackError
from emulators.local.session_api import SessionApi
from shared.session.log import LogEntry

_ARCHIVE_TIMEOUT_S = 30.0
_TRACE_LINES = 24


class LiveLog:
    """A session's log, shown as it grows."""

    def __init__(self, following: asyncio.Task[list[LogEntry]]) -> None:
        self._following = following

    async def archived(self) -> list[LogEntry]:
        """Wait until nothing can follow, and return all of it.

        Raises LocalStackError when the session is not archived in time, or its log cannot be read.
        """
        try:
            async with asyncio.timeout(_ARCHIVE_TIMEOUT_S):
                return await self._following
        except TimeoutError:
            raise LocalStackError(
                f"The session was not archived within {_ARCHIVE_TIMEOUT_S:g} s of the hang-up; "
                "look into the logs of the worker and the Functions host."
            ) from None


@asynccontextmanager
async def shown_live(
    api: SessionApi, session_id: str, console: ConversationConsole
) -> AsyncGenerator[LiveLog, None]:
    """Show the session's log from its beginning on, until the block ends."""
    following = asyncio.create_task(_follow(api, session_id, console))
    try:
        yield LiveLog(following)
    finally:
        following.cancel()
        await asyncio.wait([following])


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


async def _follow(api: SessionApi, session_id: str, console: ConversationConsole) -> list[LogEntry]:
    entries: list[LogEntry] = []
    async with aclosing(api.follow(session_id)) as log:
        async for entry in log:
            entries.append(entry)
            console.show(entry)
    return entries
