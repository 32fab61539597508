"""Results of durable tools that no owner of their session has taken: the log gets them all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from functions.dependencies import Dependencies
    from shared.session.commands import ToolResult
    from shared.session.log import LoggedEntry
    from shared.session.model import Session

_PAGE = 200


async def record_result(
    needs: Dependencies, session_id: str, tool: str, redact: tuple[str, ...], result: ToolResult
) -> bool:
    """Log the result of a session that is over; return False when it is in the log already."""
    from functions.session_start import now_ms
    from shared.session.log import ToolFinished

    entry = ToolFinished(
        tool_call_id=result.tool_call_id,
        name=tool,
        status=result.status,
        output=result.output,
        duration_ms=round(result.duration_ms, 3),
        facts=result.facts,
        redact=redact,
        at_ms=now_ms(),
    )
    (entry_id,) = await needs.log.append(session_id, [entry])  # a call is answered once: the ledger knows
    return bool(entry_id)


async def record_unread(needs: Dependencies, session: Session, entries: Iterable[LoggedEntry]) -> int:
    """Log the results that came while the session ended; return how many there were.

    entries: the session's log so far.
    """
    from shared.session.commands import ToolResult
    from shared.session.log import ToolCalled

    called = {
        logged.entry.tool_call_id: logged.entry for logged in entries if isinstance(logged.entry, ToolCalled)
    }
    after, recorded = session.inbox_cursor, 0
    while page := await needs.inbox.read(session.session_id, after, _PAGE):
        after = page[-1].entry_id
        for waiting in page:
            result = waiting.command
            call = called.get(result.tool_call_id) if isinstance(result, ToolResult) else None
            if isinstance(result, ToolResult) and call is not None:
                recorded += await record_result(needs, session.session_id, call.name, call.redact, result)
    return recorded


async def recorded_by_owner(needs: Dependencies, session_id: str, tool_call_id: str) -> bool | None:
    """Return whether the session's owner has logged the call's result; None while nobody has."""
    from shared.session.log import ToolFinished

    for logged in await needs.log.read_all(session_id):
        if isinstance(logged.entry, ToolFinished) and logged.entry.tool_call_id == tool_call_id:
            return logged.epoch > 0
    return None
