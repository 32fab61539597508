"""Asking a call's carrier for something, with the request and its failure in the session's log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from functions.carriers import leg_of
from functions.session_start import now_ms
from shared.errors import SidetoneError

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from shared.session.log import CallEventKind
    from shared.session.model import Session
    from shared.telephony.legs import CarrierLeg


async def ask_carrier(
    needs: Dependencies,
    session: Session,
    request: Callable[[CarrierLeg], Awaitable[None]],
    asked: CallEventKind,
    failed: CallEventKind,
    operation_id: str,
) -> None:
    """Send `request` to the session's carrier. What comes of it later, its callbacks tell.

    Logs `asked` when the carrier took it, `failed` with the error's code when it did not; raises that error.
    """
    from shared.session.log import CallEvent
    from shared.telemetry.logs import get_logger

    log = get_logger("functions.calls")
    try:
        await request(leg_of(needs, session))
    except SidetoneError as error:
        log.warning("call_operation_failed", extra={"operation": asked.value, "code": error.code})
        entry = CallEvent(event=failed, operation_id=operation_id, detail=error.code, at_ms=now_ms())
        await needs.log.append(session.session_id, [entry])
        raise
    entry = CallEvent(event=asked, operation_id=operation_id, at_ms=now_ms())
    await needs.log.append(session.session_id, [entry])
    log.info("call_operation", extra={"operation": asked.value, "operation_id": operation_id})
